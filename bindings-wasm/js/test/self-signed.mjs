// Certificates that sign themselves (RFC 5280 section 4.1), which Node can read and not make.
import { generateKeyPairSync, sign } from "node:crypto";

const tlv = (tag, ...parts) => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const length = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
};
const sequence = (...parts) => tlv(0x30, ...parts);
const hex = (text) => Buffer.from(text, "hex");
const ECDSA_WITH_SHA256 = sequence(hex("06082a8648ce3d040302"));

/** `{ certificate, key }` as PEM, good for a hundred years at 127.0.0.1. */
export function selfSigned(name) {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const names = sequence(tlv(0x31, sequence(hex("0603550403"), tlv(0x0c, name))));
  const validity = sequence(tlv(0x17, "200101000000Z"), tlv(0x18, "21200101000000Z"));
  const at = tlv(0xa3, sequence(sequence(hex("0603551d11"), tlv(0x04, sequence(tlv(0x87, [127, 0, 0, 1]))))));
  const serial = tlv(0x02, [1, ...Buffer.from(name)]);
  const spki = publicKey.export({ type: "spki", format: "der" });
  const content = sequence(tlv(0xa0, hex("020102")), serial, ECDSA_WITH_SHA256, names, validity, names, spki, at);
  const der = sequence(content, ECDSA_WITH_SHA256, tlv(0x03, [0], sign("sha256", content, privateKey)));
  const certificate = `-----BEGIN CERTIFICATE-----\n${der.toString("base64").match(/.{1,64}/g).join("\n")}\n-----END CERTIFICATE-----\n`;
  return { certificate, key: privateKey.export({ type: "pkcs8", format: "pem" }) };
}
