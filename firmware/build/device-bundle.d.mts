export function buildDeviceBundle(options?: { readable?: boolean; folder?: string }): Promise<{ sizeBytes: number }>;
export function buildLeanBundles(options?: { folder?: string }): Promise<Record<string, number>>;
export function buildDeviceTypes(): void;
