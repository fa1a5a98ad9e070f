/** The kinds of home that a registry may have. `files`: a file for each name. `sqlite`: one database in the CA directory. */
export const REGISTRY_KINDS = ["files", "sqlite"] as const;
export type RegistryKind = (typeof REGISTRY_KINDS)[number];
