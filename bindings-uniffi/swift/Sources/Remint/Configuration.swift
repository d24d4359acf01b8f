import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Gives the client secret as it is now.
public typealias SecretProvider = @Sendable () async throws -> String

/// A key that the client signs with, in place of a secret (`private_key_jwt`, RFC 7523 section 2.2). It is held wherever
/// you like: by swift-crypto, the Secure Enclave, an HSM or a KMS.
public struct SigningKey: Sendable {
    /// Tells this key's tokens from another's: its id, its thumbprint or its version.
    public var name: String

    /// `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256` (RFC 7518 section 3.1).
    public var algorithm: String

    /// What the server knows the key by (`kid`, RFC 7515 section 4.1.4).
    public var keyID: String?

    /// Gives the raw signature of its input: for ECDSA r and s (RFC 7518 section 3.4), not DER.
    public var sign: @Sendable (_ input: Data) async throws -> Data

    /// A key by its name and its algorithm.
    public init(
        name: String, algorithm: String, keyID: String? = nil, sign: @escaping @Sendable (_ input: Data) async throws -> Data
    ) {
        self.name = name
        self.algorithm = algorithm
        self.keyID = keyID
        self.sign = sign
    }
}

/// Called with a new refresh token before the access token that came with it is handed out: save it there.
///
/// Throw if it could not be saved: the access token is then handed out all the same, with the notice `persist_failed`.
public typealias OnRotated = @Sendable (_ refreshToken: String) async throws -> Void

/// Called with each notice, on whichever task noticed. It must not block: handing the notice to a logger will do.
public typealias OnNotice = @Sendable (Notice) -> Void

/// Everything about a client beside its profile, its credentials and its scope.
///
/// Wrong values are found when the client is made: `Client.init` throws `invalid_option`, with a message that names the
/// option.
public struct Configuration: Sendable {
    /// What the profile declares as its variables, by their names, as in `["base_url": "https://…", "tenant_id": "…"]`.
    /// A missing or unknown one is an error that names it.
    public var variables: [String: String] = [:]

    /// The token that the provider's website shows, for the grant `api_token`: a secret.
    public var apiToken: String?

    /// How tokens are got, where the profile offers a choice: `client_credentials`, `authorization_code`, `basic_get`
    /// or `api_token`.
    public var grant: String?

    /// How the client authenticates at the token endpoint, where the profile offers a choice, as in
    /// `client_secret_basic` (RFC 6749 section 2.3).
    public var clientAuth: String?

    /// The key that the client signs with, in place of a secret.
    public var signingKey: SigningKey?

    /// What the client's assertions name as their audience, the server's issuer identifier, where the profile does not say.
    public var assertionAudience: String?

    /// Gives a client assertion that was made elsewhere, as it is now (RFC 7523 section 2.2): it reads a projected token again.
    public var clientAssertion: SecretProvider?

    /// The name by which the cache tells credentials apart whose secret is a function; `client_secret` unless given.
    public var credentialName: String?

    /// The audience to ask for.
    public var audience: [String] = []

    /// The resources to ask for (RFC 8707): absolute URIs.
    public var resource: [String] = []

    /// Where the browser comes back to (RFC 6749 section 3.1.2), unless
    /// ``Client/authorizationURL(redirectURI:scope:parameters:)`` is told.
    public var redirectURI: String?

    /// Further parameters of the token request. Names that the protocol uses itself are refused.
    public var parameters: [String: String] = [:]

    /// Where the token may be sent, beside the origins that the profile declares, as in `https://api.example`.
    public var apiOrigins: [String] = []

    /// Permits `http:` for 127.0.0.0/8, ::1 and localhost, and nothing else.
    public var allowLoopbackHTTP = false

    /// How long one token request may take, to the last byte of its answer; 10 seconds unless given.
    public var requestTimeout: Duration?

    /// The constants of the behaviour contract by their names, such as `soft_margin`: durations in seconds, counts and
    /// bytes as numbers.
    public var policy: [String: PolicyValue] = [:]

    /// False where the host freezes between requests, as serverless functions do: a renewal then runs while a caller
    /// waits.
    public var backgroundRefresh = true

    /// Sends all requests in place of `URLSession`.
    public var transport: Transport?

    /// What the client's own `URLSession` is made of: proxies, TLS versions, protocol classes. An ephemeral one without
    /// cookies and cache unless given. It is copied when the client is made. Redirects are followed by the client
    /// itself, which takes credentials off where the origin changes.
    public var urlSession: URLSessionConfiguration?

    /// A store that several processes share. Without one, tokens are kept in memory.
    public var store: (any Store)?

    /// Told what happens.
    public var onNotice: OnNotice?

    /// For tests: both clocks and the timer.
    public var clock: (any TimeSource)?

    /// For tests: gives as many random bytes as asked for.
    public var random: (@Sendable (_ count: Int) -> Data)?

    /// The defaults, which are right for most.
    public init() {}
}

/// A constant of the behaviour contract: a number, in seconds where it is a duration, or a word.
public enum PolicyValue: Sendable, Hashable {
    /// Seconds, bytes or pieces.
    case number(Double)
    /// A word, as in `do_not_cache` for `missing_lifetime`.
    case word(String)

    /// A duration.
    public static func duration(_ duration: Duration) -> PolicyValue {
        .number(duration.seconds)
    }
}

extension PolicyValue: ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByStringLiteral {
    public init(integerLiteral value: Int) { self = .number(Double(value)) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(stringLiteral value: String) { self = .word(value) }
}

extension Configuration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "Configuration" }
    public var debugDescription: String { description }

    /// Leaves out whatever may hold a secret: the API token, and the values of parameters and variables.
    public var customMirror: Mirror {
        let children: KeyValuePairs<String, Any> = [
            "variables": variables.keys.sorted(), "parameters": parameters.keys.sorted(), "apiOrigins": apiOrigins,
            "allowLoopbackHTTP": allowLoopbackHTTP, "requestTimeout": requestTimeout as Any, "policy": policy,
            "backgroundRefresh": backgroundRefresh,
        ]
        return Mirror(self, children: children, displayStyle: .struct)
    }
}

/// The credentials, as the options of `Client.init` give them.
enum ClientSecret {
    case none
    case text(String)
    case provided
}

extension Configuration {
    /// What the core calls the options whose names differ.
    static let optionNames = [
        "client_id": "clientID", "client_secret": "clientSecret", "client_secret_provided": "clientSecret",
        "api_token": "apiToken",
        "client_auth": "clientAuth", "signing_key": "signingKey", "assertion_audience": "assertionAudience",
        "client_assertion_provided": "clientAssertion", "credential_name": "credentialName", "redirect_uri": "redirectURI",
        "api_origins": "apiOrigins",
        "allow_loopback_http": "allowLoopbackHTTP", "request_timeout": "requestTimeout", "aside": "backgroundRefresh",
        "min_ttl": "minTTL",
    ]

    /// The options as the core takes them: one JSON object, names in snake case, durations in seconds.
    func json(profile: String, clientID: String?, clientSecret: ClientSecret, scope: [String]?) throws -> String {
        var options: [String: Any] = variables
        options["profile"] = profile
        options["client_id"] = clientID
        switch clientSecret {
        case .none: break
        case .text(let secret): options["client_secret"] = secret
        case .provided: options["client_secret_provided"] = true
        }
        options["scope"] = scope
        options["api_token"] = apiToken
        options["grant"] = grant
        options["client_auth"] = clientAuth
        options["credential_name"] = credentialName
        options["assertion_audience"] = assertionAudience
        options["client_assertion_provided"] = clientAssertion == nil ? nil : true
        if let signingKey {
            var told = ["name": signingKey.name, "alg": signingKey.algorithm]
            told["kid"] = signingKey.keyID
            options["signing_key"] = told
        }
        options["audience"] = audience.isEmpty ? nil : audience
        options["resource"] = resource.isEmpty ? nil : resource
        options["redirect_uri"] = redirectURI
        options["parameters"] = parameters.isEmpty ? nil : parameters
        options["api_origins"] = apiOrigins.isEmpty ? nil : apiOrigins
        options["allow_loopback_http"] = allowLoopbackHTTP
        options["request_timeout"] = requestTimeout?.seconds
        options["aside"] = backgroundRefresh
        options["store"] = store == nil ? nil : true
        if !policy.isEmpty {
            options["policy"] = try policy.mapValues { (value) throws -> Any in
                switch value {
                case .word(let word): return word
                case .number(let number):
                    // JSON has no other numbers, and its encoder would trap.
                    guard number.isFinite else {
                        throw RemintError.misuse("option `policy` holds a number that is not finite")
                    }
                    return number
                }
            }
        }
        if urlSession != nil, transport != nil {
            throw RemintError.misuse("option `urlSession` is for the default transport: leave it out, or `transport`")
        }
        let bytes = try JSONSerialization.data(withJSONObject: options)
        return String(decoding: bytes, as: UTF8.self)
    }
}
