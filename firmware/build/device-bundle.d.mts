export function buildDeviceBundle(options?: { readable?: boolean; folder?: string }): Promise<{ sizeBytes: number }>;
export function buildDeviceTypes(): void;
