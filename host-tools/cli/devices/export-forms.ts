/** What `hawser export` writes. */
export const EXPORT_FORMS = [
  "erp",
  "json",
  "aws-bulk",
  "aws-template",
  "aws-jitp",
  "azure-group",
  "azure-individual",
  "emqx-users",
  "pem",
  "pkcs12",
] as const;
export type ExportForm = (typeof EXPORT_FORMS)[number];
