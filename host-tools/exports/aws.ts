/** Files for AWS IoT Core. Devices carry certificates of our own CA, so the bulk task registers those instead of signing requests. */
import { HawserError } from "../../sdk/errors.js";
import type { ExportMaterial } from "../ca/exporting.js";
import { toPem } from "../pki/pem.js";

/** Thing names and client ids (AWS IoT quotas). */
const THING_NAME = /^[a-zA-Z0-9:_-]{1,128}$/;
/** Of a provisioning template. */
const MOST_TEMPLATE_CHARACTERS = 10_240;

/**
 * The input of `start-thing-registration-task`: one JSON object a line, whose names are the parameters of {@link awsBulkTemplate}.
 * @throws HawserError `BAD_EXPORT` naming a device whose id cannot be a thing's name
 */
export function awsBulk({ devices, issuing }: ExportMaterial): string {
  return devices
    .map(({ id, serial, chain: [leaf = new Uint8Array(), ca = issuing] }) => {
      if (!THING_NAME.test(id))
        throw new HawserError(
          "BAD_EXPORT",
          `${id} cannot be the name of a thing: AWS takes letters, digits, ':', '_' and '-'`,
          "Leave it out with --device, or give devices ids without dots.",
        );
      return `${JSON.stringify({ ThingName: id, SerialNumber: serial, CertificatePem: toPem("CERTIFICATE", leaf), CaCertificatePem: toPem("CERTIFICATE", ca) })}\n`;
    })
    .join("");
}

/** The template of that task. @param policy name of an AWS IoT policy that exists */
export function awsBulkTemplate(policy: string): string {
  const parameters = ["ThingName", "SerialNumber", "CertificatePem", "CaCertificatePem"];
  return template({
    Parameters: Object.fromEntries(parameters.map((name) => [name, { Type: "String" }])),
    Resources: {
      thing: {
        Type: "AWS::IoT::Thing",
        Properties: { ThingName: { Ref: "ThingName" }, AttributePayload: { serialNumber: { Ref: "SerialNumber" } } },
      },
      certificate: {
        Type: "AWS::IoT::Certificate",
        Properties: { CertificatePem: { Ref: "CertificatePem" }, CACertificatePem: { Ref: "CaCertificatePem" }, Status: "ACTIVE" },
      },
      policy: { Type: "AWS::IoT::Policy", Properties: { PolicyName: checkPolicy(policy) } },
    },
  });
}

/**
 * The registration configuration of a CA for just-in-time provisioning: `register-ca-certificate --registration-config`. Its parameters are
 * those that every certificate of ours has: a template that names another fails for every device.
 */
export function awsJitp(policy: string, roleArn: string): string {
  if (!/^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,576}$/.test(roleArn))
    throw new HawserError(
      "BAD_EXPORT",
      `invalid role ARN ${JSON.stringify(roleArn)}`,
      "Give the role that may register things: arn:aws:iam::123456789012:role/NAME.",
    );
  const body = template({
    Parameters: { "AWS::IoT::Certificate::CommonName": { Type: "String" }, "AWS::IoT::Certificate::Id": { Type: "String" } },
    Resources: {
      thing: { Type: "AWS::IoT::Thing", Properties: { ThingName: { Ref: "AWS::IoT::Certificate::CommonName" } } },
      certificate: { Type: "AWS::IoT::Certificate", Properties: { CertificateId: { Ref: "AWS::IoT::Certificate::Id" }, Status: "ACTIVE" } },
      policy: { Type: "AWS::IoT::Policy", Properties: { PolicyName: checkPolicy(policy) } },
    },
  });
  return `${JSON.stringify({ templateBody: body, roleArn })}\n`;
}

function checkPolicy(policy: string): string {
  if (/^[\w+=,.@-]{1,128}$/.test(policy)) return policy;
  throw new HawserError(
    "BAD_EXPORT",
    `invalid policy name ${JSON.stringify(policy)}`,
    "Give the name of an AWS IoT policy: --aws-policy NAME.",
  );
}

function template(content: object): string {
  const text = JSON.stringify(content);
  if (text.length > MOST_TEMPLATE_CHARACTERS) throw new Error("the template is longer than AWS takes");
  return text;
}
