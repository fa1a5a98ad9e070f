/** The kinds of home that a registry may have. `files`: a file for each name. `sqlite`: one database in the CA directory. */
export const REGISTRY_KINDS = ["files", "sqlite"] as const;
export type RegistryKind = (typeof REGISTRY_KINDS)[number];

/** Those, and a log in PostgreSQL of which each machine keeps a copy, of the kind that it had before. */
export const REGISTRY_PLACES = [...REGISTRY_KINDS, "postgres"] as const;
export type RegistryPlace = (typeof REGISTRY_PLACES)[number];
