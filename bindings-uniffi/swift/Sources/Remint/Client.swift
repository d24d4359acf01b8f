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
        let options = try configuration.json(profile: profile, clientID: clientID, clientSecret: secret, scope: scope)
        let core: Core
        do {
            core = try Core(options: Secret(options))
        } catch CoreError.Refused(let failure) {
            throw RemintError(failure)
        }
        let http: any HTTPClient =
            if let transport = configuration.transport { CustomTransport(transport: transport) } else {
                URLSessionTransport(configuration.urlSession)
            }
        let host = Host(
            http: http, clock: SystemOrTestClock(test: configuration.clock), random: configuration.random,
            clientSecret: provider, clientAssertion: configuration.clientAssertion, sign: configuration.signingKey?.sign,
            store: configuration.store, onNotice: configuration.onNotice)
        driver = Driver(core: core, host: host)
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
    /// Report every 401, and the first other answer after one.
    ///
    /// - Parameters:
    ///   - token: The token that was on the request.
    ///   - method: The request's method.
    ///   - url: The request's absolute URL.
    ///   - status: The answer's status.
    ///   - headers: The answer's header lines.
    /// - Returns: Whether to ask for a token again and to send the request once more.
    /// - Throws: ``RemintError``.
    public func reject(_ token: Token, method: String, url: URL, status: Int, headers: [HTTPHeader] = []) async throws
        -> Bool
    {
        try answered(token.storage.call, url, status, headers) == .retry
    }

    /// Where to send the browser, and the session to keep until it is back (RFC 6749 section 4.1.1, RFC 7636).
    ///
    /// - Parameters:
    ///   - redirectURI: Where the browser comes back to; the option `redirectURI` of the configuration unless given.
    ///   - scope: The scope to ask for; the client's own unless given.
    ///   - parameters: Further parameters of the authorization request, such as `prompt`.
    /// - Throws: ``RemintError`` with the code `invalid_option`.
    public func authorizationURL(redirectURI: String? = nil, scope: [String]? = nil, parameters: [String: String] = [:])
        async throws -> Authorization
    {
        let flow = Flow.authorizationUrl(
            redirectUri: redirectURI ?? "", scope: scope ?? view.want.scope, parameters: parameters)
        switch driver.handle(.start(flow: flow, deadline: nil)) {
        case .authorization(let url, let session): return Authorization(url: try url.asURL(), session: session.expose())
        case let answer: throw driver.unexpected(answer)
        }
    }

    /// Ends what ``authorizationURL(redirectURI:scope:parameters:)`` began (RFC 6749 section 4.1.3). `state`, PKCE and
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
        let deadline = try deadline(timeout)
        let flow = Flow.codeExchange(
            callback: Secret(callback), session: Secret(session), subject: subject, onRotated: onRotated != nil)
        if let onRotated { driver.setOnRotated(onRotated, for: subject) }
        switch driver.handle(.start(flow: flow, deadline: deadline)) {
        case .wait(let id, let until):
            return try await driver.acquire(View(Want(subject: subject)), Ask(deadline: deadline), after: (id, until))
        case let answer:
            throw driver.unexpected(answer)
        }
    }

    /// Ends what ``authorizationURL(redirectURI:scope:parameters:)`` began. `callback` is the URL that the browser came
    /// back with.
    public func exchange(
        callback: URL, session: String, subject: String? = nil, timeout: Duration? = nil, onRotated: OnRotated? = nil
    ) async throws -> Token {
        try await exchange(
            callback: callback.absoluteString, session: session, subject: subject, timeout: timeout,
            onRotated: onRotated)
    }

    /// Ends what ``authorizationURL(redirectURI:scope:parameters:)`` began. `callback` is what a web framework made of
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

    /// The same client for a user, with the refresh token that your database has for them. It shares this one's core,
    /// and has a token of its own.
    ///
    /// - Parameters:
    ///   - subject: The user, by your own name for them.
    ///   - refreshToken: Their refresh token, if the client does not have one yet.
    ///   - onRotated: Called with each refresh token that replaces it, before the access token that came with it is
    ///     handed out: save it there.
    /// - Throws: ``RemintError``.
    public func withSubject(_ subject: String, refreshToken: String? = nil, onRotated: OnRotated? = nil) throws
        -> Client
    {
        let want = Want(subject: subject, scope: view.want.scope)
        if let refreshToken {
            let flow = Flow.adopt(want: want, refreshToken: Secret(refreshToken), onRotated: onRotated != nil)
            let answer = driver.handle(.start(flow: flow, deadline: nil))
            guard case .done = answer else { throw driver.unexpected(answer) }
        }
        if let onRotated { driver.setOnRotated(onRotated, for: subject) }
        return Client(driver, want)
    }

    /// The same client for another set of scopes, one element for each. It shares this one's core, and has a token of
    /// its own.
    public func withScope(_ scope: [String]) -> Client {
        Client(driver, Want(subject: view.want.subject, scope: scope))
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
        case .giveUp: return .giveUp
        case let answer: throw driver.unexpected(answer)
        }
    }

    enum Verdict {
        case pass
        case retry
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
