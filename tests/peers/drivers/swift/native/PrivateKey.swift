// Keys for tests and benches: Foundation has none on Linux, so they are those of the system's OpenSSL 3, which is loaded when the
// first is made. A package of the user's own would be swift-crypto, which is not to be had from Debian.
import Foundation

/// A private key of one algorithm (RFC 7518 section 3.1).
///
/// `@unchecked`: the key is not changed once it is made, and OpenSSL lets any number of threads use it then.
public final class PrivateKey: @unchecked Sendable {
    public let algorithm: String
    private let key: OpaquePointer

    /// A new key for ES256.
    public init() throws {
        algorithm = "ES256"
        guard let context = crypto.contextFromName(nil, "EC", nil) else { throw OpenSSLFailure("EC") }
        defer { crypto.freeContext(context) }
        var key: OpaquePointer?
        guard crypto.beginGenerating(context) == 1, crypto.setGroup(context, "P-256") == 1,
            crypto.generate(context, &key) == 1, let key
        else { throw OpenSSLFailure("P-256") }
        self.key = key
    }

    /// A key out of PEM.
    public init(pem: String, algorithm: String) throws {
        self.algorithm = algorithm
        let bytes = Array(pem.utf8)
        let key = bytes.withUnsafeBytes { bytes -> OpaquePointer? in
            guard let file = crypto.memoryFile(bytes.baseAddress, Int32(bytes.count)) else { return nil }
            defer { _ = crypto.freeFile(file) }
            return crypto.readPrivateKey(file, nil, nil, nil)
        }
        guard let key else { throw OpenSSLFailure("the PEM") }
        self.key = key
    }

    deinit {
        crypto.freeKey(key)
    }

    /// The raw signature: for ECDSA r and s.
    public func sign(_ input: Data) throws -> Data {
        guard let context = crypto.newDigest() else { throw OpenSSLFailure("a digest") }
        defer { crypto.freeDigest(context) }
        var options: OpaquePointer?
        guard crypto.beginSigning(context, &options, crypto.hash(algorithm), nil, key) == 1,
            crypto.pad(options, algorithm)
        else { throw OpenSSLFailure(algorithm) }
        var signature = [UInt8](repeating: 0, count: 1024)
        var length = signature.count
        let isSigned = input.withUnsafeBytes { input in
            crypto.sign(context, &signature, &length, input.baseAddress, input.count) == 1
        }
        guard isSigned else { throw OpenSSLFailure(algorithm) }
        let made = Data(signature[..<length])
        return algorithm.hasPrefix("ES") ? try raw(made, algorithm == "ES256" ? 32 : 48) : made
    }

    /// The public key (RFC 7517).
    public var jwk: [String: String] {
        get throws {
            switch algorithm {
            case "EdDSA": return ["kty": "OKP", "crv": "Ed25519", "x": base64URL(try point)]
            case "ES256", "ES384":
                let size = algorithm == "ES256" ? 32 : 48
                let point = try point
                guard point.count == 1 + 2 * size else { throw OpenSSLFailure("the point") }
                return [
                    "kty": "EC", "crv": size == 32 ? "P-256" : "P-384", "x": base64URL(point[1...size]),
                    "y": base64URL(point[(size + 1)...]),
                ]
            default: return ["kty": "RSA", "n": base64URL(try number("n")), "e": base64URL(try number("e"))]
            }
        }
    }

    private var point: [UInt8] {
        get throws {
            var bytes = [UInt8](repeating: 0, count: 133)
            var length = 0
            guard crypto.octets(key, "pub", &bytes, bytes.count, &length) == 1 else {
                throw OpenSSLFailure("the point")
            }
            return Array(bytes[..<length])
        }
    }

    private func number(_ name: String) throws -> [UInt8] {
        var number: OpaquePointer?
        guard crypto.number(key, name, &number) == 1, let number else { throw OpenSSLFailure(name) }
        defer { crypto.freeNumber(number) }
        var bytes = [UInt8](repeating: 0, count: Int(crypto.bits(number) + 7) / 8)
        _ = crypto.bytes(number, &bytes, Int32(bytes.count))
        return bytes
    }

    /// r and s, each as long as the curve's numbers, out of DER.
    private func raw(_ der: Data, _ size: Int) throws -> Data {
        try der.withUnsafeBytes { der in
            var start = der.baseAddress
            guard let signature = crypto.readSignature(nil, &start, der.count) else { throw OpenSSLFailure("DER") }
            defer { crypto.freeSignature(signature) }
            var bytes = [UInt8](repeating: 0, count: 2 * size)
            bytes.withUnsafeMutableBufferPointer { bytes in
                _ = crypto.paddedBytes(crypto.r(signature), bytes.baseAddress, Int32(size))
                _ = crypto.paddedBytes(crypto.s(signature), bytes.baseAddress.map { $0 + size }, Int32(size))
            }
            return Data(bytes)
        }
    }
}

/// The thumbprint of the first certificate of a PEM file (`x5t#S256`, RFC 8705 section 3.1).
public func thumbprint(ofCertificate path: String) throws -> String {
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
    let body = lines.drop { !$0.hasPrefix("-----BEGIN CERTIFICATE") }.dropFirst().prefix { !$0.hasPrefix("-----") }
    guard let der = Data(base64Encoded: body.joined()), !der.isEmpty else { throw OpenSSLFailure("the certificate") }
    return base64URL(try sha256(der))
}

public func sha256(_ data: Data) throws -> [UInt8] {
    var hash = [UInt8](repeating: 0, count: 32)
    var length = hash.count
    let isDone = data.withUnsafeBytes {
        crypto.digest(nil, "SHA256", nil, $0.baseAddress, $0.count, &hash, &length) == 1
    }
    guard isDone else { throw OpenSSLFailure("SHA-256") }
    return hash
}

/// Without padding (RFC 7515 section 2).
public func base64URL(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Data(bytes).base64EncodedData().lazy.filter { $0 != UInt8(ascii: "=") }.map { digit in
        switch digit {
        case UInt8(ascii: "+"): UInt8(ascii: "-")
        case UInt8(ascii: "/"): UInt8(ascii: "_")
        default: digit
        }
    }
    return String(decoding: Array(digits), as: UTF8.self)
}
