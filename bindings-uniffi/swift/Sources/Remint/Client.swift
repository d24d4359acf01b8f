import Foundation
internal import RemintCore

/// Gets, keeps and renews one client's tokens. Make one, and share it between all tasks and threads.
///
/// ```swift
/// let wallet = try Client("phoenix-wallet", clientID: id, clientSecret: secret, scope: ["wallets:read"])
/// let (data, response) = try await wallet.data(for: URLRequest(url: url))
/// ```
///
/// Nothing is requested before somebody asks for a token. A task that is cancelled just stops waiting: what it waited
/// for goes on for the others. A client that is let go without ``close()`` leaves nothing behind.
public final class Client: Sendable {
    let driver: Driver
    let view: View

    /// Makes a client.
    ///
    /// - Parameters:
    ///   - profile: The name of a built-in profile, or the text of a profile document.
    ///   - clientID: The client's identifier (RFC 6749 section 2.2).
    ///   - clientSecret: The client's secret. None for a public client, such as a mobile app: what is in a binary is no
    ///     secret.
    ///   - scope: The scope to ask for (RFC 6749 section 3.3), one element for each part; the profile's own unless
    ///     given.
    ///   - configuration: Everything else.
    /// - Throws: ``RemintError`` with a code such as `invalid_option` or `invalid_profile`.
    public convenience init(
        _ profile: String, clientID: String? = nil, clientSecret: String? = nil, scope: [String]? = nil,
        configuration: Configuration = Configuration()
    ) throws {
        try self.init(profile, clientID, clientSecret.map { .text($0) } ?? .none, nil, scope, configuration)
    }

    /// Makes a client whose secret is read before each token request, so that one that was rotated needs no restart.
    ///
    /// - Parameters:
    ///   - profile: The name of a built-in profile, or the text of a profile document.
    ///   - clientID: The client's identifier (RFC 6749 section 2.2).
    ///   - scope: The scope to ask for (RFC 6749 section 3.3), one element for each part; the profile's own unless
    ///     given.
    ///   - configuration: Everything else.
    ///   - clientSecret: Gives the client's secret as it is now. If it throws, the token request fails with
    ///     `host_error`.
    /// - Throws: ``RemintError`` with a code such as `invalid_option` or `invalid_profile`.
    public convenience init(
        _ profile: String, clientID: String? = nil, scope: [String]? = nil,
        configuration: Configuration = Configuration(),
        clientSecret: @escaping SecretProvider
    ) throws {
        try self.init(profile, clientID, .provided, clientSecret, scope, configuration)
    }

    private init(
        _ profile: String, _ clientID: String?, _ secret: ClientSecret, _ provider: SecretProvider?, _ scope: [String]?,
        _ configuration: Configuration
    ) throws {
        let options = try configuration.options(
            profile: profile, clientID: clientID, clientSecret: secret, scope: scope)
        let core: Core
        do {
            core = try Core(options: Secret(try text(of: options)))
        } catch CoreError.Refused(let failure) {
            throw RemintError(failure)
        }
        var providers = try configuration.providers
        providers.clientSecret = provider
        let host = Host(
            http: configuration.http, clock: SystemOrTestClock(test: configuration.clock), random: configuration.random,
            providers: providers, store: configuration.store, verifier: configuration.verifier,
            onStoreError: configuration.onStoreError, onNotice: configuration.onNotice)
        driver = Driver(
            core: core, host: host, keys: configuration.keys, certificate: configuration.certificateThumbprint)
        view = View()
    }

    private init(_ driver: Driver, _ want: Want) {
        self.driver = driver
        view = View(want)
    }

    /// A client that has this token and asks for no other, for tests of your own.
    ///
    /// - Parameters:
    ///   - token: The access token.
    ///   - apiOrigins: Where the token may be sent, as in `https://api.example`.
    ///   - configuration: Everything else, such as a transport.
    /// - Throws: ``RemintError`` with the code `invalid_option`.
    public static func fixed(_ token: String, apiOrigins: [String] = [], configuration: Configuration = Configuration())
        throws -> Client
    {
        var configuration = configuration
        configuration.apiToken = token
        configuration.apiOrigins += apiOrigins
        return try Client(
            #"{"name": "static", "title": "A token that is there already", "grants": ["api_token"], "api_token": {"scheme": "Bearer"}}"#,
            configuration: configuration)
    }

    /// A valid token: the cached one, or a new one. One request serves however many callers wait for it.
    ///
    /// - Parameters:
    ///   - minTTL: How much life the token must have left. If the server gives less, the code is `min_ttl_unavailable`.
    ///   - force: Whether the cached token won't do. A pause that the server asked for is kept all the same.
    ///   - timeout: How long to wait; what the policy `caller_timeout` says unless given, which is 30 seconds.
    /// - Throws: ``RemintError``; `CancellationError` when the calling task is cancelled, which ends nobody else's
    ///   waiting.
    @inlinable
    public func token(minTTL: Duration = .zero, force: Bool = false, timeout: Duration? = nil) async throws -> Token {
        // Inlinable, since the way into an asynchronous function and out of it takes longer than all the rest of
        // answering from the cache.
        if !force, minTTL == .zero, let token = peek() { return token }
        return try await acquire(minTTL, force, timeout)
    }

    @usableFromInline
    func acquire(_ minTTL: Duration, _ force: Bool, _ timeout: Duration?) async throws -> Token {
        let ask = Ask(minTTL: try minTTL.checked("minTTL"), force: force, deadline: try deadline(timeout))
        return try await driver.acquire(view, ask)
    }

    /// The cached token, if it may be used without a further look. Never sends a request.
    public func peek() -> Token? {
        driver.fresh(view)
    }

    /// What to put on this one request: the token's header, and what else the provider wants.
    ///
    /// - Parameters:
    ///   - method: The request's method, in upper case.
    ///   - url: The request's absolute URL. Its origin must be one that the profile or the option `apiOrigins` names.
    /// - Throws: ``RemintError``, with the code `origin_not_allowed` if the token must not be sent there.
    public func headers(method: String, url: URL) async throws -> [String: String] {
        let attached = try await driver.attach(view, Ask(), (method, url.absoluteString))
        return Dictionary(attached.headers.map { ($0.name, $0.value) }, uniquingKeysWith: { "\($0), \($1)" })
    }

    /// Reports what an API answered to a request with this token, for those who send it themselves.
    ///
    /// Report every 401 and 403, every answer with a `DPoP-Nonce`, and the first other answer after a 401. Then take new
    /// ``headers(method:url:)``: a proof of possession is for one request.
    ///
    /// - Parameters:
    ///   - token: The token that was on the request.
    ///   - method: The request's method.
    ///   - url: The request's absolute URL.
    ///   - status: The answer's status.
    ///   - headers: The answer's header lines.
    /// - Returns: Whether to ask for a token again and to send the request once more.
    /// - Throws: ``RemintError``, with the code `insufficient_user_authentication` if a person has to sign in once more.
    public func reject(_ token: Token, method: String, url: URL, status: Int, headers: [HTTPHeader] = []) async throws
        -> Bool
    {
        switch try answered(token.storage.call, url, status, headers) {
        case .pass, .giveUp: false
        case .retry, .again: true
        }
    }

    /// Where to send the browser, and the session to keep until it is back (RFC 6749 section 4.1.1, RFC 7636).
    ///
    /// - Parameters:
    ///   - redirectURI: Where the browser comes back to; the option `redirectURI` of the configuration unless given.
    ///   - scope: The scope to ask for; the client's own unless given.
    ///   - parameters: Further parameters of the authorization request, such as `prompt`.
    ///   - authorizationDetails: What is asked for in detail (RFC 9396 section 2), as JSON text; the client's own unless
    ///     given.
    ///   - timeout: How long to wait, where the request is sent ahead (RFC 9126) or the server's metadata is read; what the
    ///     policy `caller_timeout` says unless given, which is 30 seconds.
    /// - Throws: ``RemintError``, with codes such as `invalid_option`.
    public func authorizationURL(
        redirectURI: String? = nil, scope: [String]? = nil, parameters: [String: String] = [:],
        authorizationDetails: String? = nil, timeout: Duration? = nil
    ) async throws -> Authorization {
        let flow = Flow.authorizationUrl(
            redirectUri: redirectURI ?? "", scope: scope ?? view.want.scope, parameters: parameters,
            authorizationDetails: authorizationDetails)
        switch try await driver.run(flow, deadline: deadline(timeout)) {
        case .authorization(let url, let session): return Authorization(url: try url.asURL(), session: session.expose())
        case let answer: throw driver.unexpected(answer)
        }
    }

    /// Ends what ``authorizationURL(redirectURI:scope:parameters:authorizationDetails:timeout:)`` began (RFC 6749 section 4.1.3). `state`, PKCE and
    /// `iss` are checked.
    ///
    /// - Parameters:
    ///   - callback: The URL that the browser came back with, or its query.
    ///   - session: The session that came with the authorization URL.
    ///   - subject: The user, by your own name for them; this client's subject unless given.
    ///   - timeout: How long to wait; what the policy `caller_timeout` says unless given, which is 30 seconds.
    ///   - onRotated: Called with the refresh token, and later with each that replaces it, before the access token is
    ///     handed out.
    /// - Throws: ``RemintError``, with codes such as `state_mismatch`, `access_denied` and `invalid_grant`.
    public func exchange(
        callback: String, session: String, subject: String? = nil, timeout: Duration? = nil, onRotated: OnRotated? = nil
    ) async throws -> Token {
        let subject = subject ?? view.want.subject
        let flow = Flow.codeExchange(
            callback: Secret(callback), session: Secret(session), subject: subject, onRotated: onRotated != nil)
        if let onRotated { driver.setOnRotated(onRotated, for: subject) }
        return try await driver.token(of: flow, subject: subject, deadline: deadline(timeout), isOwn: false)
    }

    /// Ends what ``authorizationURL(redirectURI:scope:parameters:authorizationDetails:timeout:)`` began. `callback` is the URL that the browser came
    /// back with.
    public func exchange(
        callback: URL, session: String, subject: String? = nil, timeout: Duration? = nil, onRotated: OnRotated? = nil
    ) async throws -> Token {
        try await exchange(
            callback: callback.absoluteString, session: session, subject: subject, timeout: timeout,
            onRotated: onRotated)
    }

    /// Ends what ``authorizationURL(redirectURI:scope:parameters:authorizationDetails:timeout:)`` began. `callback` is what a web framework made of
    /// the URL's query, repeated names included.
    public func exchange(
        callback: [URLQueryItem], session: String, subject: String? = nil, timeout: Duration? = nil,
        onRotated: OnRotated? = nil
    ) async throws -> Token {
        let pairs = callback.map { "\($0.name.formEncoded)=\(($0.value ?? "").formEncoded)" }
        let query = pairs.joined(separator: "&")
        return try await exchange(
            callback: query, session: session, subject: subject, timeout: timeout, onRotated: onRotated)
    }

    /// The URL with the token in its query, which logs and histories keep; and headers for the answer that carries it.
    ///
    /// - Parameter url: An absolute URL.
    /// - Throws: ``RemintError``, with the code `invalid_option` if the profile does not say that its provider wants
    ///   this.
    public func insecureURL(_ url: URL) async throws -> InsecureURL {
        let attached = try await driver.attach(view, Ask(), ("GET", url.absoluteString), inQuery: true)
        let headers = Dictionary(attached.headers.map { ($0.name, $0.value) }, uniquingKeysWith: { "\($0), \($1)" })
        return InsecureURL(url: try (attached.url?.expose() ?? "").asURL(), headers: headers)
    }

    /// Asks the server for a code that a person types in on another device (RFC 8628 section 3.1). Show it to them, and
    /// ``poll(session:subject:timeout:onRotated:)``.
    ///
    /// - Parameters:
    ///   - scope: The scope to ask for; the client's own unless given.
    ///   - parameters: Further parameters of the request. Names that the protocol uses itself are refused.
    ///   - timeout: How long to wait for the code; what the policy `caller_timeout` says unless given, which is 30 seconds.
    /// - Throws: ``RemintError``.
    public func deviceAuthorization(
        scope: [String]? = nil, parameters: [String: String] = [:], timeout: Duration? = nil
    ) async throws -> DeviceAuthorization {
        let flow = Flow.device(scope: scope ?? view.want.scope, parameters: parameters)
        switch try await driver.run(flow, deadline: deadline(timeout)) {
        case .pending(let pending): return try DeviceAuthorization(pending)
        case let answer: throw driver.unexpected(answer)
        }
    }

    /// Asks a person on a device of their own (OpenID CIBA section 7.1), and gives what to
    /// ``poll(session:subject:timeout:onRotated:)`` with. Exactly one of the three hints names the person.
    ///
    /// - Parameters:
    ///   - loginHint: The person by name, number or address.
    ///   - loginHintToken: The person by a token that says who it is.
    ///   - idTokenHint: The person by an ID token that they were given.
    ///   - bindingMessage: What both devices show, so that the person can compare.
    ///   - userCode: What only the person knows, where the server asks for that.
    ///   - requestedExpiry: For how long the request is to live.
    ///   - acrValues: The authentication that is asked for, space-separated.
    ///   - scope: The scope to ask for; the client's own unless given.
    ///   - parameters: Further parameters of the request. Names that the protocol uses itself are refused.
    ///   - timeout: How long to wait for the server's answer; what the policy `caller_timeout` says unless given, which is
    ///     30 seconds.
    /// - Throws: ``RemintError``.
    public func backchannelAuthentication(
        loginHint: String? = nil, loginHintToken: String? = nil, idTokenHint: String? = nil,
        bindingMessage: String? = nil, userCode: String? = nil, requestedExpiry: Duration? = nil,
        acrValues: String? = nil, scope: [String]? = nil, parameters: [String: String] = [:], timeout: Duration? = nil
    ) async throws -> BackchannelAuthentication {
        let request = Backchannel(
            scope: scope ?? view.want.scope, loginHint: loginHint, loginHintToken: loginHintToken.map { Secret($0) },
            idTokenHint: idTokenHint.map { Secret($0) }, bindingMessage: bindingMessage,
            userCode: userCode.map { Secret($0) },
            requestedExpiry: try requestedExpiry.map { try $0.checked("requestedExpiry") }, acrValues: acrValues,
            parameters: parameters)
        switch try await driver.run(.backchannel(request: request), deadline: deadline(timeout)) {
        case .pending(let pending): return BackchannelAuthentication(pending)
        case let answer: throw driver.unexpected(answer)
        }
    }

    /// Waits until the person has answered (RFC 8628 section 3.4, CIBA section 10.1), and gives their token. The pauses
    /// between two questions are the server's. A caller who is cancelled, or whose time is over, ends the asking.
    ///
    /// - Parameters:
    ///   - session: The ``DeviceAuthorization/session`` or ``BackchannelAuthentication/session``. It may come out of another
    ///     process.
    ///   - subject: The person, by your own name for them; this client's subject unless given.
    ///   - timeout: How long to wait; until the code or request runs out unless given.
    ///   - onRotated: Called with the refresh token, and later with each that replaces it, before the access token is
    ///     handed out.
    /// - Throws: ``RemintError``, with codes such as `access_denied` and `authorization_expired`; `CancellationError` when
    ///   the calling task is cancelled.
    public func poll(
        session: String, subject: String? = nil, timeout: Duration? = nil, onRotated: OnRotated? = nil
    ) async throws -> Token {
        let subject = subject ?? view.want.subject
        if let onRotated { driver.setOnRotated(onRotated, for: subject) }
        let poll = Poll(session: Secret(session), subject: subject, onRotated: onRotated != nil)
        return try await driver.token(
            of: .poll(poll: poll), subject: subject, deadline: deadline(timeout), isOwn: true)
    }

    /// What the server knows about a token (RFC 7662).
    ///
    /// - Parameters:
    ///   - token: The token.
    ///   - hint: Which kind it is: `access_token`, `refresh_token`, or what the server calls it.
    ///   - timeout: How long to wait; what the policy `caller_timeout` says unless given, which is 30 seconds.
    /// - Throws: ``RemintError``. A token that the server does not know is no error.
    public func introspect(_ token: String, hint: String? = nil, timeout: Duration? = nil) async throws -> Introspection
    {
        let flow = Flow.introspect(introspect: Introspect(token: Secret(token), hint: hint))
        switch try await driver.run(flow, deadline: deadline(timeout)) {
        case .introspection(let active, let json): return Introspection(isActive: active, json: json.expose())
        case let answer: throw driver.unexpected(answer)
        }
    }

    /// Has the server forget a token (RFC 7009), and forgets it here.
    ///
    /// - Parameters:
    ///   - token: The token. What this client holds unless given: its refresh token if there is one, else its access token;
    ///     with a refresh token goes the access token that came of it.
    ///   - hint: Which kind it is: `access_token`, `refresh_token`, or what the server calls it.
    ///   - timeout: How long to wait; what the policy `caller_timeout` says unless given, which is 30 seconds.
    /// - Throws: ``RemintError``.
    public func revoke(_ token: String? = nil, hint: String? = nil, timeout: Duration? = nil) async throws {
        let revoke = Revoke(want: view.want, token: token.map { Secret($0) }, hint: hint)
        let answer = try await driver.run(.revoke(revoke: revoke), deadline: deadline(timeout))
        guard case .done = answer else { throw driver.unexpected(answer) }
    }

    /// The same client for a user, with what your database has for them. It shares this one's core, and has a token of its
    /// own.
    ///
    /// - Parameters:
    ///   - subject: The user, by your own name for them.
    ///   - refreshToken: Their refresh token, if the client does not have one yet.
    ///   - subjectToken: Their token that is exchanged, with the grant `token_exchange` (RFC 8693 section 2.1). It takes the
    ///     place of one that was given before.
    ///   - actorToken: The token of who acts for them.
    ///   - onRotated: Called with each refresh token that replaces it, before the access token that came with it is
    ///     handed out: save it there.
    /// - Throws: ``RemintError``.
    public func withSubject(
        _ subject: String, refreshToken: String? = nil, subjectToken: String? = nil, actorToken: String? = nil,
        onRotated: OnRotated? = nil
    ) throws -> Client {
        let want = Want(subject: subject, scope: view.want.scope, resource: view.want.resource)
        if refreshToken != nil || subjectToken != nil || actorToken != nil {
            let adopt = Adopt(
                want: want, refreshToken: refreshToken.map { Secret($0) },
                subjectToken: subjectToken.map { Secret($0) },
                actorToken: actorToken.map { Secret($0) }, onRotated: onRotated != nil)
            let answer = driver.handle(.start(flow: .adopt(adopt: adopt), deadline: nil, after: nil))
            guard case .done = answer else { throw driver.unexpected(answer) }
        }
        if let onRotated { driver.setOnRotated(onRotated, for: subject) }
        return Client(driver, want)
    }

    /// The same client for another set of scopes, one element for each. It shares this one's core, and has a token of
    /// its own.
    public func withScope(_ scope: [String]) -> Client {
        Client(driver, Want(subject: view.want.subject, scope: scope, resource: view.want.resource))
    }

    /// The same client for other resources (RFC 8707 section 2), absolute URIs. It shares this one's core, and has a token of
    /// its own.
    public func withResource(_ resource: [String]) -> Client {
        Client(driver, Want(subject: view.want.subject, scope: view.want.scope, resource: resource))
    }

    /// Goes on with what has replaced the certificate or a key, without a restart. What is not given stays. Tokens that were
    /// bound to the one before are forgotten.
    ///
    /// - Parameters:
    ///   - certificateThumbprint: Like ``Configuration/certificateThumbprint``. Have your transport present the new
    ///     certificate first.
    ///   - signingKey: Like ``Configuration/signingKey``.
    ///   - dpop: Like ``Configuration/dpop``.
    /// - Throws: ``RemintError`` with the code `invalid_option`: then nothing has changed.
    public func renewed(
        certificateThumbprint: String? = nil, signingKey: SigningKey? = nil, dpop: DPoPKey? = nil
    ) throws {
        try driver.renew(certificate: certificateThumbprint, signingKey: signingKey, dpop: dpop)
    }

    /// Forgets the access token: the next caller gets another.
    public func invalidate() async {
        driver.handle(.invalidate(want: view.want))
    }

    /// Refuses new work, with the code `closed`, for all views of this client. Returns when what was under way has
    /// ended: within the request timeout.
    public func close() async {
        await driver.close()
    }

    /// What the core says to an API's answer.
    func answered(_ call: String, _ url: URL, _ status: Int, _ headers: [HTTPHeader]) throws -> Verdict {
        let lines = headers.map { Header(name: $0.name, value: Secret($0.value)) }
        let event = Event.answered(
            want: view.want, call: call, url: url.absoluteString, status: Int32(clamping: status), headers: lines)
        switch driver.handle(event) {
        case .pass: return .pass
        case .retry: return .retry
        case .again(let call): return .again(call)
        case .giveUp: return .giveUp
        case let answer: throw driver.unexpected(answer)
        }
    }

    enum Verdict {
        case pass
        case retry
        /// The token is good, and its proof was not: the same again with this call.
        case again(String)
        case giveUp
    }

    private func deadline(_ timeout: Duration?) throws -> Int64? {
        try timeout.map { driver.host.clock.boot().addingClamped(try $0.checked("timeout")) }
    }
}

extension Client: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "Client" }
    public var debugDescription: String { description }
    /// Has no children: `dump` and `Mirror` find nothing.
    public var customMirror: Mirror { Mirror(self, children: [:], displayStyle: .class) }
}

extension Duration {
    /// Milliseconds, if it is a time that somebody can wait or ask for.
    fileprivate func checked(_ name: String) throws -> Int64 {
        guard self >= .zero else { throw RemintError.misuse("`\(name)` is negative: give a duration from zero") }
        return milliseconds
    }
}

extension String {
    /// As a URL. What the core gives always is one.
    fileprivate func asURL() throws -> URL {
        guard let url = URL(string: self) else {
            throw RemintError.misuse(
                "the URL that was made is none that Foundation accepts: check the profile's endpoints")
        }
        return url
    }

    /// As `application/x-www-form-urlencoded` has it.
    fileprivate var formEncoded: String {
        addingPercentEncoding(withAllowedCharacters: Self.unreserved) ?? ""
    }

    private static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
}
