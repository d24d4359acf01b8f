import Foundation
import Native
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// The clients of one run, by the names that the scenarios give them, and what can be told to do to them.
struct Driver {
    private var clients: [String: Client] = [:]
    private var states: [String: State] = [:]

    /// What is seen of a client from outside. The clients of its subjects share it, but for their refresh tokens.
    private struct State {
        var notices = Locked<[Notice]>([])
        var losses = Locked(0)
        var rotated = Locked<[String]>([])
    }

    /// Does one thing, and gives what there is to tell of it.
    mutating func run(_ verb: String, _ words: Words) async throws -> Any {
        switch verb {
        case "client":
            try makeClient(words)
            return NSNull()
        case "token":
            let timeout: Double? = words.optional("timeout")
            let token = try await client(words).token(
                force: words.optional("force") ?? false, timeout: timeout.map { .seconds($0) })
            return shown(token)
        case "invalidate":
            try await client(words).invalidate()
            return NSNull()
        case "tokens":
            return try await tokens(of: client(words), callers: words.required("callers"))
        case "call":
            let url: String = try words.required("url")
            var request = URLRequest(url: URL(string: url)!)
            request.httpMethod = words.optional("method") ?? "GET"
            return try await client(words).data(for: request).1.statusCode
        case "authorization_url":
            let authorization = try await client(words).authorizationURL(
                redirectURI: words.required("redirect_uri"), scope: scope(words),
                parameters: words.optional("parameters") ?? [:],
                authorizationDetails: json(words.any("authorization_details")))
            return ["url": authorization.url.absoluteString, "session": authorization.session]
        case "exchange":
            let (client, subject): (Client, String) = (try client(words), try words.required("subject"))
            let token = try await client.exchange(
                callback: words.required("callback") as String, session: words.required("session"), subject: subject,
                onRotated: derive(words))
            clients[try words.required("view")] = try client.withSubject(subject)
            return shown(token)
        case "device_authorization":
            let device = try await client(words).deviceAuthorization(scope: scope(words))
            return [
                "user_code": device.userCode, "verification_uri": device.verificationURI,
                "verification_uri_complete": device.verificationURIComplete as Any? ?? NSNull(),
                "qr_text": device.qrText, "expires_in": device.expiresIn / .seconds(1),
                "interval": device.interval / .seconds(1), "session": device.session, "shown": printed(device),
            ]
        case "backchannel":
            let asked = try await client(words).backchannelAuthentication(
                loginHint: words.optional("login_hint"), bindingMessage: words.optional("binding_message"),
                scope: scope(words))
            return [
                "expires_in": asked.expiresIn / .seconds(1), "interval": asked.interval / .seconds(1),
                "session": asked.session, "shown": printed(asked),
            ]
        case "poll":
            let (client, subject): (Client, String) = (try client(words), try words.required("subject"))
            let token = try await client.poll(
                session: words.required("session"), subject: subject, onRotated: derive(words))
            clients[try words.required("view")] = try client.withSubject(subject)
            return shown(token)
        case "introspect":
            let known = try await client(words).introspect(words.required("token"), hint: words.optional("hint"))
            return ["active": known.isActive, "claims": known.claims, "shown": printed(known)]
        case "revoke":
            try await client(words).revoke(words.optional("token"), hint: words.optional("hint"))
            return NSNull()
        case "with_resource":
            clients[try words.required("view")] = try client(words).withResource(listed(words.any("resource")))
            states[try words.required("view")] = try state(words)
            return NSNull()
        case "with_subject":
            let client = try client(words)
            clients[try words.required("view")] = try client.withSubject(
                words.required("subject"), subjectToken: words.optional("subject_token"),
                actorToken: words.optional("actor_token"), onRotated: derive(words))
            return NSNull()
        case "adopt":
            let client = try client(words)
            clients[try words.required("view")] = try client.withSubject(
                words.required("subject"), refreshToken: words.required("refresh_token"), onRotated: derive(words))
            return NSNull()
        case "register":
            return try await register(words)
        case "rotated":
            return try state(words).rotated.with { $0 }
        case "notices":
            let notices = try state(words).notices.with { notices in
                defer { notices = [] }
                return notices
            }
            return notices.map { notice in
                ["notice": notice.name, "detail": notice.detail as Any? ?? NSNull(), "shown": printed(notice)]
            }
        case "lose_answers":
            let count: Int = try words.required("count")
            try state(words).losses.with { $0 = count }
            return NSNull()
        default:
            throw Malformed(what: "verb `\(verb)`")
        }
    }

    /// Ends what the clients still do.
    func close() async {
        for client in clients.values { await client.close() }
    }

    private mutating func makeClient(_ words: Words) throws {
        let name: String = try words.required("name")
        let state = State()
        var options = Words(try words.required("options"))
        var configuration = Configuration()
        let (id, secret, scope): (String?, String?, String?) = (
            options.take("client_id"), options.take("client_secret"), options.take("scope")
        )
        configuration.clientAuth = options.take("client_auth")
        configuration.grant = options.take("grant")
        configuration.allowLoopbackHTTP = options.take("allow_loopback_http") ?? false
        configuration.assertionAudience = options.take("assertion_audience")
        configuration.signingKey = try options.take("signing_key").map(signing)
        configuration.dpop = try options.takeAny("dpop").map(proving)
        configuration.subjectTokenType = options.take("subject_token_type")
        configuration.actorTokenType = options.take("actor_token_type")
        configuration.requestedTokenType = options.take("requested_token_type")
        configuration.assertionIssuer = options.take("assertion_issuer")
        configuration.assertionSubject = options.take("assertion_subject")
        configuration.assertionClaims = options.take("assertion_claims") ?? [:]
        configuration.authorizationDetails = try json(options.takeAny("authorization_details"))
        configuration.pushedAuthorization = options.take("pushed_authorization")
        configuration.requestObject = options.take("request_object")
        configuration.responseMode = options.take("response_mode")
        configuration.authorizationSignedResponseAlgorithm = options.take("authorization_signed_response_alg")
        configuration.verifier = isVerified
        configuration.certificateBound = options.take("certificate_bound")
        configuration.resource = listed(options.takeAny("resource"))
        configuration.audience = listed(options.takeAny("audience"))
        configuration.apiOrigins = options.take("api_origins") ?? []
        let timeout: Double? = options.take("request_timeout")
        configuration.requestTimeout = timeout.map { .seconds($0) }
        configuration.policy = try (options.take("policy") ?? [:]).mapValues(constant)
        configuration.store = try options.takeAny("store").map(store)
        let keys: [[String: String]]? = options.take("store_keys")
        configuration.storeKeys = try (keys ?? []).map { key in
            guard let id = key["id"], let text = key["key"] else { throw Malformed(what: "`store_keys`") }
            return StoreKey(id: id, base64URL: text)
        }
        if let token: String = options.take("subject_token") { configuration.subjectToken = { _ in token } }
        if let token: String = options.take("actor_token") { configuration.actorToken = { _ in token } }
        if let assertion: String = options.take("assertion") { configuration.assertion = { _ in assertion } }
        configuration.onNotice = { notice in state.notices.with { $0.append(notice) } }
        let (pair, authority): ([String: String]?, String?) = (options.take("client_certificate"), options.take("ca"))
        if pair != nil || authority != nil {
            configuration.transport = certified(
                certificate: pair?["certificate"], key: pair?["key"], authority: authority)
            configuration.certificateThumbprint = try pair?["certificate"].map(thumbprint(ofCertificate:))
        }
        if words.optional("lossy") ?? false {
            configuration.transport = losing(state.losses)
        }
        // What is left is a variable of the profile.
        configuration.variables = try options.values.compactMapValues { value in
            guard let text = value as? String else {
                throw Malformed(what: "one of the options \(options.values.keys)")
            }
            return text
        }
        let profile = try JSONSerialization.data(withJSONObject: words.required("profile") as [String: Any])
        clients[name] = try Client(
            String(decoding: profile, as: UTF8.self), clientID: id, clientSecret: secret, scope: scope.map(scopes),
            configuration: configuration)
        states[name] = state
    }

    private func tokens(of client: Client, callers: Int) async throws -> Any {
        try await withThrowingTaskGroup(of: Token.self) { group in
            for _ in 0..<callers { group.addTask { try await client.token() } }
            return try await group.reduce(into: [Any]()) { $0.append(shown($1)) }
        }
    }

    /// Prepares for a subject's client, and gives what keeps its refresh tokens.
    private mutating func derive(_ words: Words) throws -> OnRotated {
        var state = try state(words)
        let rotated = Locked<[String]>([])
        state.rotated = rotated
        states[try words.required("view")] = state
        return { refreshToken in rotated.with { $0.append(refreshToken) } }
    }

    private func client(_ words: Words) throws -> Client {
        let name: String = try words.required("client")
        guard let client = clients[name] else { throw Malformed(what: "client `\(name)`") }
        return client
    }

    private func state(_ words: Words) throws -> State {
        let name: String = try words.required("client")
        guard let state = states[name] else { throw Malformed(what: "client `\(name)`") }
        return state
    }
}

/// The user's own transport, which can lose an answer that has arrived.
private func losing(_ losses: Locked<Int>) -> Transport {
    let session = URLSession(configuration: .ephemeral)
    return { request in
        var wire = URLRequest(url: request.url)
        wire.httpMethod = request.method
        wire.httpBody = request.body
        for (name, value) in request.headers { wire.addValue(value, forHTTPHeaderField: name) }
        let (body, answer) = try await session.data(for: wire)
        let isLost = losses.with { count in
            defer { count = max(0, count - 1) }
            return count > 0
        }
        guard !isLost, let answer = answer as? HTTPURLResponse else { throw URLError(.networkConnectionLost) }
        let headers = answer.allHeaderFields.map { (name: "\($0.key)", value: "\($0.value)") }
        return HTTPResponse(status: answer.statusCode, headers: headers, body: body)
    }
}

/// A constant of the behaviour contract.
private func constant(_ value: Any) throws -> PolicyValue {
    if let number = value as? Double { return .number(number) }
    if let word = value as? String { return .word(word) }
    throw Malformed(what: "one of the constants in `policy`")
}

/// The store that processes share: in a folder.
private func store(_ described: Any) throws -> any Store {
    guard let folder: String = Words(described as? [String: Any] ?? [:]).optional("file") else {
        throw Malformed(what: "`store`: no redis")
    }
    return try FileStore(folder)
}

/// A key that a service holds; without one, a key out of PEM.
private func signing(_ key: [String: Any]) throws -> SigningKey {
    let words = Words(key)
    let (name, algorithm): (String, String) = (try words.required("kid"), try words.required("alg"))
    guard let url: String = words.optional("url") else {
        let key = try PrivateKey(pem: words.required("pem"), algorithm: algorithm)
        return SigningKey(name: name, algorithm: algorithm, keyID: name) { try key.sign($0) }
    }
    return SigningKey(name: name, algorithm: algorithm, keyID: name) { input in
        var request = URLRequest(url: URL(string: url)!)
        request.httpMethod = "POST"
        request.httpBody = input
        return try await URLSession.shared.data(for: request).0
    }
}

/// A key that tokens are bound to: out of PEM, or new where nothing is said of it.
private func proving(_ key: Any) throws -> DPoPKey {
    let words = Words(key as? [String: Any] ?? [:])
    let held =
        if let pem: String = words.optional("pem") {
            try PrivateKey(pem: pem, algorithm: words.required("alg"))
        } else {
            try PrivateKey()
        }
    return DPoPKey(
        algorithm: held.algorithm, jwk: try held.jwk, isRequired: words.optional("required") ?? true
    ) { try held.sign($0) }
}

private func scope(_ words: Words) -> [String]? {
    let scope: String? = words.optional("scope")
    return scope.map(scopes)
}

private func listed(_ value: Any?) -> [String] {
    (value as? String).map { [$0] } ?? value as? [String] ?? []
}

private func json(_ value: Any?) throws -> String? {
    if let text = value as? String { return text }
    return try value.map { String(decoding: try JSONSerialization.data(withJSONObject: $0), as: UTF8.self) }
}

private func scopes(_ text: String) -> [String] {
    text.split(separator: " ").map(String.init)
}

/// A token with all that printing it shows.
private func shown(_ token: Token) -> [String: Any] {
    [
        "access_token": token.accessToken, "token_type": token.tokenType, "expires_in": token.expiresIn() / .seconds(1),
        "scope": token.scope as Any? ?? NSNull(), "shown": printed(token),
    ]
}

/// Everything that printing shows.
func printed(_ value: Any) -> String {
    var dumped = ""
    dump(value, to: &dumped)
    return "\(value) \(String(reflecting: value)) \(dumped)"
}

/// The members of one JSON object.
struct Words {
    private(set) var values: [String: Any]

    init(_ values: [String: Any]) {
        self.values = values
    }

    func optional<T>(_ name: String) -> T? {
        values[name] as? T
    }

    func any(_ name: String) -> Any? {
        values[name]
    }

    func required<T>(_ name: String) throws -> T {
        guard let value = values[name] as? T else { throw Malformed(what: "`\(name)`") }
        return value
    }

    /// Of whichever type it is: `as? Any` would take nothing for something.
    mutating func takeAny(_ name: String) -> Any? {
        values.removeValue(forKey: name)
    }

    mutating func take<T>(_ name: String) -> T? {
        values.removeValue(forKey: name) as? T
    }
}

/// The scenarios and this driver don't understand each other.
struct Malformed: Error {
    let what: String
}

/// A value behind a lock. `@unchecked`: `value` is touched nowhere but in `with`, under the lock.
final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) {
        self.value = value
    }

    func with<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        try lock.withLock { try body(&value) }
    }
}
