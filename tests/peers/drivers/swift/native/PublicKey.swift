// What checks a server's signatures in the tests; an application has swift-crypto or the Security framework for that.
import Foundation
import Remint

/// Whether a signature is the server's. A key or a signature that is malformed is no error.
public func isVerified(_ signed: ServerSignature) -> Bool {
    guard let jwk = try? JSONDecoder().decode([String: String].self, from: Data(signed.jwk.utf8)),
        let (key, signature) = prepared(jwk, signed)
    else { return false }
    let read = key.withUnsafeBytes { bytes in
        var start = bytes.baseAddress
        return crypto.readPublicKey(nil, &start, bytes.count)
    }
    guard let read else { return false }
    defer { crypto.freeKey(read) }
    guard let context = crypto.newDigest() else { return false }
    defer { crypto.freeDigest(context) }
    var options: OpaquePointer?
    guard crypto.beginVerifying(context, &options, crypto.hash(signed.algorithm), nil, read) == 1,
        crypto.pad(options, signed.algorithm)
    else { return false }
    return signed.input.withUnsafeBytes { input in
        crypto.verify(context, signature, signature.count, input.baseAddress, input.count) == 1
    }
}

/// The key and the signature as OpenSSL reads them: a SubjectPublicKeyInfo (RFC 5280 section 4.1), and for ECDSA a sequence of r and s.
private func prepared(_ jwk: [String: String], _ signed: ServerSignature) -> (key: [UInt8], signature: [UInt8])? {
    let signature = Array(signed.signature)
    func member(_ name: String, _ size: Int? = nil) -> [UInt8]? {
        jwk[name].flatMap(bytes(ofBase64URL:)).flatMap { size == nil || $0.count == size ? $0 : nil }
    }
    switch signed.algorithm {
    case "RS256", "PS256":
        guard let modulus = member("n"), let exponent = member("e") else { return nil }
        let key = der(0x30, integer(modulus) + integer(exponent))
        return (der(0x30, der(0x30, der(0x06, rsaEncryption) + der(0x05, [])) + der(0x03, [0] + key)), signature)
    case "ES256", "ES384":
        let (curve, size) = signed.algorithm == "ES256" ? (p256, 32) : (p384, 48)
        guard let x = member("x", size), let y = member("y", size), signature.count == 2 * size else { return nil }
        let key = der(0x30, der(0x06, ecPublicKey) + der(0x06, curve)) + der(0x03, [0, 4] + x + y)
        return (der(0x30, key), der(0x30, integer(signature[..<size]) + integer(signature[size...])))
    case "EdDSA":
        guard let x = member("x", 32) else { return nil }
        return (der(0x30, der(0x30, der(0x06, ed25519)) + der(0x03, [0] + x)), signature)
    default: return nil
    }
}

// RFC 8017 appendix A.1, RFC 5480 sections 2.1.1 and 2.1.1.1, RFC 8410 section 3.
private let rsaEncryption: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01]
private let ecPublicKey: [UInt8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01]
private let p256: [UInt8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]
private let p384: [UInt8] = [0x2B, 0x81, 0x04, 0x00, 0x22]
private let ed25519: [UInt8] = [0x2B, 0x65, 0x70]

/// A value in DER (X.690), of up to 65,535 bytes.
private func der(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
    let length = content.count
    switch length {
    case ..<0x80: return [tag, UInt8(length)] + content
    case ..<0x100: return [tag, 0x81, UInt8(length)] + content
    default: return [tag, 0x82, UInt8(length >> 8), UInt8(length & 0xFF)] + content
    }
}

/// An integer that is not negative.
private func integer(_ digits: some Sequence<UInt8>) -> [UInt8] {
    let digits = Array(digits.drop { $0 == 0 })
    return der(0x02, digits.first.map { $0 < 0x80 } ?? false ? digits : [0] + digits)
}

private func bytes(ofBase64URL text: String) -> [UInt8]? {
    let text = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
    return Data(base64Encoded: text + String(repeating: "=", count: (4 - text.count % 4) % 4)).map(Array.init)
}
