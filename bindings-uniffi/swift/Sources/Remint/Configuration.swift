import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Gives the client secret as it is now.
public typealias SecretProvider = @Sendable () async throws -> String

/// Gives a token or assertion for a user, or for the client itself, as it is now.
public typealias SubjectProvider = @Sendable (_ subject: String?) async throws -> String

/// Called with a new refresh token before the access token that came with it is handed out: save it there.
///
/// Throw if it could not be saved: the access token is then handed out all the same, with the notice `persist_failed`.
public typealias OnRotated = @Sendable (_ refreshToken: String) async throws -> Void

/// Called with each notice, on whichever task noticed. It must not block: handing the notice to a logger will do.
public typealias OnNotice = @Sendable (Notice) -> Void

/// Called with an error of the store's. It must not block: handing the error to a logger will do.
public typealias OnStoreError = @Sendable (any Error) -> Void

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

    /// How tokens are got, where the profile offers a choice: `client_credentials`, `authorization_code`, `device_code`,
    /// `ciba`, `token_exchange`, `jwt_bearer`, `basic_get` or `api_token`.
    public var grant: String?

    /// How the client authenticates at the token endpoint, where the profile offers a choice, as in
    /// `client_secret_basic` (RFC 6749 section 2.3).
    public var clientAuth: String?

    /// The key that the client signs with: its assertions, in place of a secret (`private_key_jwt`, RFC 7523 section
    /// 2.2), the assertions of the grant `jwt_bearer`, and authorization requests (RFC 9101).
    public var signingKey: SigningKey?

    /// The key that tokens are bound to (DPoP, RFC 9449). Each request then carries a proof that it signed.
    public var dpop: DPoPKey?

    /// The thumbprint of the certificate that your ``transport`` presents (`x5t#S256`, RFC 8705 section 3.1): the SHA-256
    /// hash of the DER certificate, as base64url without padding.
    ///
    /// For the client authentications `tls_client_auth` and `self_signed_tls_client_auth`, and for tokens that are bound to
    /// it. `URLSession` presents no certificate on Linux, so it needs a ``transport``. Once the certificate was replaced:
    /// ``Client/renewed(certificateThumbprint:signingKey:dpop:)``.
    public var certificateThumbprint: String?

    /// Whether tokens are bound to the certificate (RFC 8705 section 3), where neither the client authentication nor the
    /// server's metadata says so.
    public var certificateBound: Bool?

    /// What the client's assertions name as their audience, the server's issuer identifier, where the profile does not say.
    public var assertionAudience: String?

    /// Gives a client assertion that was made elsewhere, as it is now (RFC 7523 section 2.2).
    public var clientAssertion: SecretProvider?

    /// The path of a file with such an assertion, which is read for each request: a projected service-account token.
    public var clientAssertionFile: String?

    /// Gives the token that is exchanged (grant `token_exchange`, RFC 8693 section 2.1), as it is now.
    public var subjectToken: SubjectProvider?

    /// The path of a file with such a token, which is read for each request.
    public var subjectTokenFile: String?

    /// Gives the token of who acts for the subject, as it is now.
    public var actorToken: SubjectProvider?

    /// Of which type ``subjectToken`` is: a URN of RFC 8693 section 3, or its last part alone, as in `jwt`. `access_token`
    /// unless given.
    public var subjectTokenType: String?

    /// Of which type ``actorToken`` is, like ``subjectTokenType``.
    public var actorTokenType: String?

    /// Which type of token is wanted, like ``subjectTokenType``; the server's choice unless given.
    public var requestedTokenType: String?

    /// Gives the assertion that is the grant `jwt_bearer` (RFC 7523 section 2.1), as it is now. Without it, ``signingKey``
    /// signs one.
    public var assertion: SubjectProvider?

    /// Who such an assertion is by (`iss`), if not the client.
    public var assertionIssuer: String?

    /// Whom it is about (`sub`), if neither the client nor the view's subject.
    public var assertionSubject: String?

    /// What else it says: texts by the names of their claims.
    public var assertionClaims: [String: String] = [:]

    /// What is asked for in detail (RFC 9396 section 2): a JSON array of objects that each have a `type`, as text.
    public var authorizationDetails: String?

    /// Whether authorization requests are sent ahead (RFC 9126), where the profile or the server's metadata does not say.
    public var pushedAuthorization: Bool?

    /// Whether authorization requests are signed (RFC 9101), with ``signingKey``.
    public var requestObject: Bool?

    /// How the answer to an authorization request comes back: `query`, `form_post`, or signed (JARM), `jwt`, `query.jwt` or
    /// `form_post.jwt`. The profile's own way unless given.
    public var responseMode: String?

    /// What signs such answers: `RS256`, `PS256`, `ES256`, `ES384`, `EdDSA`, or `HS256` for the client secret. Any that the
    /// server's keys allow unless given, but never `HS256`.
    public var authorizationSignedResponseAlgorithm: String?

    /// Checks the signatures of such answers, by swift-crypto or the Security framework.
    public var verifier: Verifier?

    /// The name by which the cache tells credentials apart whose secret is a function; `client_secret` unless given.
    public var credentialName: String?

    /// The audience to ask for.
    public var audience: [String] = []

    /// The resources to ask for (RFC 8707): absolute URIs.
    public var resource: [String] = []

    /// Where the browser comes back to (RFC 6749 section 3.1.2), unless
    /// ``Client/authorizationURL(redirectURI:scope:parameters:authorizationDetails:timeout:)`` is told.
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

    /// A store that several processes share, such as a ``FileStore``: then they share tokens, and a refresh token that is
    /// replaced is replaced once. Without one, tokens are kept in memory.
    public var store: (any Store)?

    /// The keys that records in the store are encrypted with: the first one writes, all read. Every process must have them.
    ///
    /// To replace a key, first put the new one last everywhere, then first, and drop the old one when all that it wrote has
    /// run out.
    public var storeKeys: [StoreKey] = []

    /// Told the store's own errors: the notices say that it is down, and not why.
    public var onStoreError: OnStoreError?

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
        "client_assertion_provided": "clientAssertion", "tls_id": "certificateThumbprint",
        "certificate_bound": "certificateBound", "subject_token_provided": "subjectToken",
        "subject_token_type": "subjectTokenType", "actor_token_provided": "actorToken",
        "actor_token_type": "actorTokenType", "requested_token_type": "requestedTokenType",
        "assertion_provided": "assertion", "assertion_issuer": "assertionIssuer",
        "assertion_subject": "assertionSubject", "assertion_claims": "assertionClaims",
        "authorization_details": "authorizationDetails", "pushed_authorization": "pushedAuthorization",
        "request_object": "requestObject", "response_mode": "responseMode",
        "authorization_signed_response_alg": "authorizationSignedResponseAlgorithm",
        "authorization_url": "authorizationURL", "credential_name": "credentialName",
        "redirect_uri": "redirectURI", "store_keys": "storeKeys",
        "initial_access_token": "initialAccessToken", "registration_access_token": "registrationAccessToken",
        "registration_client_uri": "registrationClientURI",
        "api_origins": "apiOrigins",
        "allow_loopback_http": "allowLoopbackHTTP", "request_timeout": "requestTimeout", "aside": "backgroundRefresh",
        "min_ttl": "minTTL",
    ]

    /// What sends the requests.
    var http: any HTTPClient {
        if let transport { CustomTransport(transport: transport) } else { URLSessionTransport(urlSession) }
    }

    /// The options as the core takes them: names in snake case, durations in seconds.
    func options(profile: String, clientID: String?, clientSecret: ClientSecret, scope: [String]?) throws -> [String:
        Any]
    {
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
        let providers = try providers
        options["client_assertion_provided"] = providers.clientAssertion == nil ? nil : true
        options["subject_token_provided"] = providers.subjectToken == nil ? nil : true
        options["actor_token_provided"] = providers.actorToken == nil ? nil : true
        options["assertion_provided"] = providers.assertion == nil ? nil : true
        options["signing_key"] = signingKey?.json
        options["dpop"] = dpop?.json(dpopName)
        options["tls_id"] = certificateThumbprint
        options["certificate_bound"] = certificateBound
        options["subject_token_type"] = subjectTokenType
        options["actor_token_type"] = actorTokenType
        options["requested_token_type"] = requestedTokenType
        options["assertion_issuer"] = assertionIssuer
        options["assertion_subject"] = assertionSubject
        options["assertion_claims"] = assertionClaims.isEmpty ? nil : assertionClaims
        options["authorization_details"] = authorizationDetails
        options["pushed_authorization"] = pushedAuthorization
        options["request_object"] = requestObject
        options["response_mode"] = responseMode
        options["authorization_signed_response_alg"] = authorizationSignedResponseAlgorithm
        options["audience"] = audience.isEmpty ? nil : audience
        options["resource"] = resource.isEmpty ? nil : resource
        options["redirect_uri"] = redirectURI
        options["parameters"] = parameters.isEmpty ? nil : parameters
        options["api_origins"] = apiOrigins.isEmpty ? nil : apiOrigins
        options["allow_loopback_http"] = allowLoopbackHTTP
        options["request_timeout"] = requestTimeout?.seconds
        options["aside"] = backgroundRefresh
        options["store"] = store == nil ? nil : true
        options["store_keys"] = storeKeys.isEmpty ? nil : storeKeys.map { ["id": $0.id, "key": $0.text] }
        var policy = policy
        if let every = store?.checkEvery, policy["store_check"] == nil { policy["store_check"] = .duration(every) }
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
        if certificateThumbprint != nil, transport == nil {
            throw RemintError.misuse(
                "option `certificateThumbprint` needs a `transport` that presents the certificate: `URLSession` presents none"
            )
        }
        if responseMode?.hasSuffix("jwt") == true, authorizationSignedResponseAlgorithm != "HS256", verifier == nil {
            throw RemintError.misuse(
                "option `responseMode` asks for signed answers, and nothing checks their signatures: give a `verifier`")
        }
        if urlSession != nil, transport != nil {
            throw RemintError.misuse("option `urlSession` is for the default transport: leave it out, or `transport`")
        }
        return options
    }

    /// The user's functions, and the files that are read in the place of one. The client's secret is not among the options.
    var providers: Providers {
        get throws {
            var providers = Providers(
                clientAssertion: clientAssertion, subjectToken: subjectToken, actorToken: actorToken,
                assertion: assertion)
            if let path = clientAssertionFile {
                if clientAssertion != nil { throw besides("clientAssertion") }
                providers.clientAssertion = { try read(path) }
            }
            if let path = subjectTokenFile {
                if subjectToken != nil { throw besides("subjectToken") }
                providers.subjectToken = { _ in try read(path) }
            }
            return providers
        }
    }

    private func besides(_ name: String) -> RemintError {
        .misuse("option `\(name)File` stands beside `\(name)`: keep one of the two")
    }

    /// The keys that may have to sign.
    var keys: [NamedKey] {
        [signingKey.map(NamedKey.init), dpop.map { NamedKey($0, dpopName) }].compactMap { $0 }
    }

    private var dpopName: String { DPoPKey.name(besides: [signingKey?.name]) }
}

/// JSON text. What is written holds strings, numbers, lists and objects of them alone.
func text(of object: [String: Any]) throws -> String {
    String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
}

/// What a file holds now, without the line break at its end.
private func read(_ path: String) throws -> String {
    guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8) else {
        throw UnreadableFile(path: path)
    }
    return String(text.reversed().drop { $0.isNewline }.reversed())
}

/// A file that an option names is not there, or holds no text.
struct UnreadableFile: Error {
    let path: String

    var hint: String { "`\(path)` could not be read: see that it is there, and that this process may read it" }
}
