#if canImport(Security)
    import Foundation
    @preconcurrency import Security

    extension SigningKey {
        /// A key of Apple's Security framework: out of the Keychain, the Secure Enclave, or of ``generateKey(_:)``.
        ///
        /// - Parameters:
        ///   - name: Tells this key's tokens from another's.
        ///   - key: An RSA key of 2048 bits or more, or a key on the curve P-256 or P-384.
        ///   - keyID: What the server knows the key by.
        /// - Throws: ``RemintError`` with the code `invalid_option`, if nothing can be signed with the key.
        public init(name: String, key: SecKey, keyID: String? = nil) throws {
            let held = try HeldKey(key)
            self.init(name: name, algorithms: held.algorithms, keyID: keyID) { input, algorithm in
                try held.sign(input, algorithm)
            }
        }
    }

    extension DPoPKey {
        /// A key of Apple's Security framework: out of the Keychain, the Secure Enclave, or of ``generateKey(_:)``.
        ///
        /// - Throws: ``RemintError`` with the code `invalid_option`, if nothing can be signed with the key.
        public init(key: SecKey, isRequired: Bool = true) throws {
            let held = try HeldKey(key)
            let algorithm = held.algorithms[0]
            self.init(algorithm: algorithm, jwk: held.jwk, isRequired: isRequired) { try held.sign($0, algorithm) }
        }

        /// A key for the life of the client, on the curve P-256.
        public static func generate() throws -> DPoPKey {
            try DPoPKey(key: generateKey())
        }
    }

    /// A new private key, which `SecKeyCopyExternalRepresentation` exports and the Keychain keeps.
    ///
    /// - Parameter algorithm: `ES256`, `ES384`, `RS256` or `PS256`.
    /// - Throws: ``RemintError`` with the code `invalid_option`.
    public func generateKey(_ algorithm: String = "ES256") throws -> SecKey {
        let (type, bits): (CFString, Int)
        switch algorithm {
        case "ES256": (type, bits) = (kSecAttrKeyTypeECSECPrimeRandom, 256)
        case "ES384": (type, bits) = (kSecAttrKeyTypeECSECPrimeRandom, 384)
        case "RS256", "PS256": (type, bits) = (kSecAttrKeyTypeRSA, 2048)
        default: throw RemintError.misuse("`\(algorithm)` is none of `ES256`, `ES384`, `RS256` and `PS256`")
        }
        let attributes: [CFString: Any] = [kSecAttrKeyType: type, kSecAttrKeySizeInBits: bits]
        guard let key = SecKeyCreateRandomKey(attributes as CFDictionary, nil) else {
            throw RemintError.misuse("the system makes no key for `\(algorithm)`")
        }
        return key
    }

    /// `@unchecked`: a `SecKey` does not change, and any number of threads may use it.
    private struct HeldKey: @unchecked Sendable {
        let algorithms: [String]
        /// The public key (RFC 7517).
        let jwk: [String: String]
        private let key: SecKey
        /// How many bytes r and s have each; none for RSA.
        private let size: Int?

        init(_ key: SecKey) throws {
            guard let attributes = SecKeyCopyAttributes(key) as? [CFString: Any],
                let type = attributes[kSecAttrKeyType] as? String, let bits = attributes[kSecAttrKeySizeInBits] as? Int,
                let publicKey = SecKeyCopyPublicKey(key),
                let exported = SecKeyCopyExternalRepresentation(publicKey, nil) as Data?
            else { throw RemintError.misuse("the key has no public half that can be read: give a private key") }
            self.key = key
            let bytes = Array(exported)
            if type == kSecAttrKeyTypeECSECPrimeRandom as String, bits == 256 || bits == 384 {
                let size = bits / 8
                // 04, x and y.
                guard bytes.count == 1 + 2 * size else { throw RemintError.misuse("the key's point cannot be read") }
                self.size = size
                algorithms = [size == 32 ? "ES256" : "ES384"]
                jwk = [
                    "kty": "EC", "crv": "P-\(bits)", "x": Data(bytes[1...size]).base64URL,
                    "y": Data(bytes[(1 + size)...]).base64URL,
                ]
            } else if type == kSecAttrKeyTypeRSA as String, bits >= 2048 {
                // A sequence of two integers, the modulus and the exponent (RFC 8017 appendix A.1.1).
                var der = DER(bytes)
                guard der.enter(), let modulus = der.integer(), let exponent = der.integer() else {
                    throw RemintError.misuse("the key's numbers cannot be read")
                }
                size = nil
                algorithms = ["PS256", "RS256"]
                jwk = ["kty": "RSA", "n": Data(modulus).base64URL, "e": Data(exponent).base64URL]
            } else {
                throw RemintError.misuse(
                    "a key of this kind or size does not sign here: use RSA from 2048 bits, P-256 or P-384")
            }
        }

        func sign(_ input: Data, _ algorithm: String) throws -> Data {
            let way: SecKeyAlgorithm
            switch algorithm {
            case "ES256": way = .ecdsaSignatureMessageX962SHA256
            case "ES384": way = .ecdsaSignatureMessageX962SHA384
            case "PS256": way = .rsaSignatureMessagePSSSHA256
            default: way = .rsaSignatureMessagePKCS1v15SHA256
            }
            var error: Unmanaged<CFError>?
            guard let made = SecKeyCreateSignature(key, way, input as CFData, &error) as Data? else {
                throw (error?.takeRetainedValue() as (any Error)?) ?? RemintError.misuse("the key does not sign")
            }
            guard let size else { return made }
            // A sequence of two integers, r and s (RFC 3279 section 2.2.3), which JOSE has one after the other.
            var der = DER(Array(made))
            guard der.enter(), let r = der.integer(), let s = der.integer(), r.count <= size, s.count <= size else {
                throw RemintError.misuse("the key's signature is no ECDSA signature")
            }
            let padding = { (number: [UInt8]) in [UInt8](repeating: 0, count: size - number.count) + number }
            return Data(padding(r) + padding(s))
        }
    }
#endif
