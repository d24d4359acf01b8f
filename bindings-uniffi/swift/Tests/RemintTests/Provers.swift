import Foundation

@testable import Remint

/// A profile with every endpoint that a flow may need.
let everything = #"""
    {"name": "acme", "title": "Acme",
     "grants": ["client_credentials", "authorization_code", "device_code", "ciba", "token_exchange", "jwt_bearer"],
     "token": {"endpoint": "https://login.example/token",
      "client_auth": ["client_secret_basic", "private_key_jwt", "tls_client_auth", "none"]},
     "authorization": {"endpoint": "https://login.example/authorize"},
     "endpoints": {"device_authorization": "https://login.example/device",
      "backchannel_authentication": "https://login.example/bc",
      "pushed_authorization_request": "https://login.example/par",
      "introspection": "https://login.example/introspect", "revocation": "https://login.example/revoke"},
     "api_origins": ["https://api.example"]}
    """#

/// A client of Acme with the grant and whatever else a test wants.
func acme(_ server: FakeServer, grant: String, secret: String? = clientSecret, _ change: (inout Configuration) -> Void)
    throws -> Client
{
    var configuration = Configuration()
    configuration.transport = server.transport
    configuration.grant = grant
    change(&configuration)
    return try Client(everything, clientID: "me", clientSecret: secret, configuration: configuration)
}

/// A key whose signatures nobody here checks: what they are over is what counts.
func prover(_ signature: UInt8 = 7) -> DPoPKey {
    let coordinate = String(repeating: "A", count: 43)
    return DPoPKey(algorithm: "ES256", jwk: ["kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate]) { _ in
        Data(repeating: signature, count: 64)
    }
}

/// What a signed JWT says, unchecked.
struct UncheckedJWT {
    let header: [String: Any]
    let claims: [String: Any]
    let signature: String

    init?(_ text: String?) {
        let parts = (text ?? "").split(separator: ".").map(String.init)
        guard parts.count == 3, let header = Self.object(parts[0]), let claims = Self.object(parts[1]) else {
            return nil
        }
        (self.header, self.claims, signature) = (header, claims, parts[2])
    }

    subscript(name: String) -> String? { claims[name] as? String }

    private static func object(_ text: String) -> [String: Any]? {
        let base64 = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        let padded = base64.padding(toLength: (base64.count + 3) / 4 * 4, withPad: "=", startingAt: 0)
        return Data(base64Encoded: padded).flatMap { try? JSONSerialization.jsonObject(with: $0) } as? [String: Any]
    }
}

extension HTTPRequest {
    /// The proof of possession on it.
    var proof: UncheckedJWT? { UncheckedJWT(header("DPoP")) }
}

/// What a call threw, if it is one of ours.
func failure<Value>(_ call: () async throws -> Value) async -> RemintError? {
    do {
        _ = try await call()
        return nil
    } catch {
        return error as? RemintError
    }
}
