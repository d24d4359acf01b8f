import Foundation

/// A key that the client signs with (RFC 7523, RFC 9101). It is held wherever you like: by swift-crypto, the Secure Enclave,
/// an HSM or a KMS.
public struct SigningKey: Sendable {
    /// Tells this key's tokens from another's: its id, its thumbprint or its version.
    public var name: String

    /// What it may sign by: `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256` (RFC 7518 section 3.1). Of several, the server's
    /// metadata chooses.
    public var algorithms: [String]

    /// What the server knows the key by (`kid`, RFC 7515 section 4.1.4).
    public var keyID: String?

    /// Gives the raw signature of its input by one of the algorithms: for ECDSA r and s (RFC 7518 section 3.4), not DER.
    public var sign: @Sendable (_ input: Data, _ algorithm: String) async throws -> Data

    /// A key by its name and its algorithm.
    public init(
        name: String, algorithm: String, keyID: String? = nil,
        sign: @escaping @Sendable (_ input: Data) async throws -> Data
    ) {
        self.init(name: name, algorithms: [algorithm], keyID: keyID) { input, _ in try await sign(input) }
    }

    /// A key that can sign by several algorithms, such as an RSA key.
    public init(
        name: String, algorithms: [String], keyID: String? = nil,
        sign: @escaping @Sendable (_ input: Data, _ algorithm: String) async throws -> Data
    ) {
        self.name = name
        self.algorithms = algorithms
        self.keyID = keyID
        self.sign = sign
    }

    /// As the core takes it.
    var json: [String: Any] {
        var json: [String: Any] = ["name": name, "alg": algorithms.count == 1 ? algorithms[0] : algorithms]
        json["kid"] = keyID
        return json
    }
}

/// A key that tokens are bound to (DPoP, RFC 9449): whoever has stolen a token cannot use it without the key.
///
/// On Apple platforms `DPoPKey.generate()` makes one. Elsewhere swift-crypto's `P256.Signing.PrivateKey()` or a service of
/// yours holds it: Foundation has no keys there, and what signs is never this package's own.
public struct DPoPKey: Sendable {
    /// `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256` (RFC 7518 section 3.1).
    public var algorithm: String

    /// The public key's members (RFC 7517), as in `["kty": "EC", "crv": "P-256", "x": "…", "y": "…"]`. One that belongs to a
    /// private key is refused.
    public var jwk: [String: String]

    /// Whether a token that the server did not bind to the key is refused.
    public var isRequired: Bool

    /// Gives the raw signature of its input: for ECDSA r and s (RFC 7518 section 3.4), not DER.
    public var sign: @Sendable (_ input: Data) async throws -> Data

    /// A key by its public half, and what signs with the other.
    public init(
        algorithm: String, jwk: [String: String], isRequired: Bool = true,
        sign: @escaping @Sendable (_ input: Data) async throws -> Data
    ) {
        self.algorithm = algorithm
        self.jwk = jwk
        self.isRequired = isRequired
        self.sign = sign
    }

    /// A key whose public half is the `rawRepresentation` of swift-crypto or CryptoKit.
    ///
    /// - Parameters:
    ///   - algorithm: `ES256`, `ES384` or `EdDSA`.
    ///   - publicKey: On the curves P-256 and P-384 the point's x and y, of 32 or 48 bytes each; on Ed25519 32 bytes.
    /// - Throws: ``RemintError`` with the code `invalid_option`, if the two do not fit each other.
    public init(
        algorithm: String, publicKey: Data, isRequired: Bool = true,
        sign: @escaping @Sendable (_ input: Data) async throws -> Data
    ) throws {
        // RFC 7518 section 6.2.1, RFC 8037 section 2.
        let jwk: [String: String]
        switch (algorithm, publicKey.count) {
        case ("ES256", 64), ("ES384", 96):
            let size = publicKey.count / 2
            jwk = [
                "kty": "EC", "crv": "P-\(size * 8)", "x": publicKey.prefix(size).base64URL,
                "y": publicKey.suffix(size).base64URL,
            ]
        case ("EdDSA", 32): jwk = ["kty": "OKP", "crv": "Ed25519", "x": publicKey.base64URL]
        case ("ES256", _), ("ES384", _), ("EdDSA", _):
            throw RemintError.misuse(
                "a public key of \(publicKey.count) bytes is none for `\(algorithm)`: give its `rawRepresentation`")
        default:
            throw RemintError.misuse(
                "a key by its `rawRepresentation` signs by `ES256`, `ES384` or `EdDSA`: give another one's `jwk`")
        }
        self.init(algorithm: algorithm, jwk: jwk, isRequired: isRequired, sign: sign)
    }

    /// As the core takes it.
    func json(_ name: String) -> [String: Any] {
        ["name": name, "alg": algorithm, "jwk": jwk, "required": isRequired]
    }

    /// A name that no other key has: the core asks for signatures by it.
    static func name(besides names: [String?], _ number: Int = 0) -> String {
        let name = number == 0 ? "dpop" : "dpop-\(number)"
        return names.contains(name) ? "\(name)'" : name
    }
}

extension DPoPKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "DPoPKey(\(algorithm))" }
    public var debugDescription: String { description }

    /// Leaves out the key's members: a private one may be among them by mistake.
    public var customMirror: Mirror {
        Mirror(self, children: ["algorithm": algorithm, "isRequired": isRequired], displayStyle: .struct)
    }
}

extension NamedKey {
    init(_ key: SigningKey) {
        self.init(name: key.name, sign: key.sign)
    }

    init(_ key: DPoPKey, _ name: String) {
        self.init(name: name) { input, _ in try await key.sign(input) }
    }
}

/// What a server has signed: its answer to an authorization request (JARM section 2.2).
public struct ServerSignature: Sendable {
    /// `RS256`, `PS256`, `ES256`, `ES384` or `EdDSA` (RFC 7518 section 3.1).
    public let algorithm: String

    /// The server's public key: a JWK as JSON text, with the members of RFC 7638 alone.
    public let jwk: String

    /// What was signed. There is a code in it.
    public let input: Data

    /// The raw signature: for ECDSA r and s (RFC 7518 section 3.4).
    public let signature: Data
}

/// Whether a signature is one of that key over that input. A key or a signature that is malformed is `false`, and no error.
public typealias Verifier = @Sendable (ServerSignature) async throws -> Bool

extension ServerSignature: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "ServerSignature(\(algorithm))" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["algorithm": algorithm], displayStyle: .struct) }
}
