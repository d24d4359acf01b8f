import Foundation
import Remint

/// A vector about callers, through the public client: each `ask` is a task.
final class ClientRun {
    private let given: Given
    private let steps: [JSON]
    private let canaries: [String]
    private let world: World
    private let client: Client
    private var callers: [String: [Caller<Token>]] = [:]
    /// The requests on the wire, by the names that the vector gives them.
    private var sent: [String: WireRequest] = [:]

    static func isMeant(by vector: JSON) -> Bool {
        if let client = vector["client"] { return client == true }
        return (vector["steps"]?.array ?? []).contains { $0["drop"] != nil }
    }

    init(_ vector: JSON) throws {
        given = try Given(vector["given"] ?? .null)
        steps = vector["steps"]?.array ?? []
        canaries = (vector["canaries"]?.array ?? []).compactMap(\.string)
        world = World(wall: given.start.wall, boot: given.start.boot, entropy: given.entropy)
        client = try ClientRun.client(given.options, world)
    }

    func run() async throws {
        defer { world.end() }
        var index = 0
        while index < steps.count {
            // The waiters who ask again belong to the moment that woke them.
            let first = index
            let now = try clocks(of: steps[first])
            index += 1
            while index < steps.count, steps[index]["after"] != nil, try clocks(of: steps[index]) == now { index += 1 }
            do {
                try await play(Array(steps[first..<index]), now)
            } catch let problem as Problem {
                throw Problem("  step \(first + 1) \(steps[first].text)\n\(problem.text)")
            }
        }
    }

    private func clocks(of step: JSON) throws -> [Int64] {
        var fields = try Fields("a step", step)
        let now = try given.clocks(&fields)
        return [now.wall, now.boot]
    }

    private func play(_ moment: [JSON], _ now: [Int64]) async throws {
        world.forgetNotices()
        let before = world.requests(since: 0).count
        world.move(toWall: now[0], boot: now[1])
        while world.fireTimer() { await rest() }
        let look = try await act(moment[0])
        // Tasks get the time that they need; then one breath more, for what should not happen.
        let patience = ContinuousClock.now + .seconds(5)
        while ContinuousClock.now < patience, !differences(moment, before, look).isEmpty {
            await rest()
            while world.fireTimer() { await rest() }
        }
        await rest()
        let differences = differences(moment, before, look)
        if !differences.isEmpty { throw Problem(differences.joined(separator: "\n")) }
    }

    private func rest() async {
        try? await Task.sleep(for: .milliseconds(2))
    }

    /// Something to look at besides the callers of `token`.
    private typealias Look = (inout [String]) -> Void

    private func differences(_ moment: [JSON], _ before: Int, _ look: Look?) -> [String] {
        var differences: [String] = []
        let expected = moment.flatMap { $0["operations"]?.array ?? [] }.filter { $0["send"] != nil }
        let came = world.requests(since: before)
        if came.count != expected.count {
            differences.append(difference("requests", .integer(Int64(expected.count)), .integer(Int64(came.count))))
        }
        for (operation, wire) in zip(expected, came) {
            if let name = operation["send"]?.string { sent[name] = wire }
            if let request = operation["request"] { compare("request", request, wire.shown, &differences) }
        }
        for step in moment {
            guard let label = step["ask"]?.string, let answer = step["answer"] else { continue }
            for caller in callers[label] ?? [] { compareCaller(answer, caller, &differences) }
        }
        func telling(_ notices: [String]) -> [String] {
            notices.filter { !["joined", "served_while_failing"].contains($0) }.sorted()
        }
        let listed = telling(moment.flatMap { $0["notices"]?.array ?? [] }.compactMap(\.string))
        let heard = telling(world.notices)
        if !areNotices(listed, heard) {
            differences.append(difference("notices", .array(listed.map(JSON.string)), .array(heard.map(JSON.string))))
        }
        for canary in canaries where heard.contains(where: { $0.contains(canary) }) {
            differences.append("    a notice shows `\(canary)`")
        }
        look?(&differences)
        // A thousand callers may differ in one and the same way.
        var seen: Set<String> = []
        return differences.filter { seen.insert($0).inserted }
    }

    private func compareCaller(_ expected: JSON, _ caller: Caller<Token>, _ differences: inout [String]) {
        let came = caller.shown { token in
            .members([
                "use": .string(token.accessToken),
                "generation": .integer(Int64(token.generation)),
                "token_type": .string(token.tokenType),
                "scope": token.scope.map(JSON.string),
                "authorization": .string(token.authorization),
                "expires_wall": .integer(Int64((token.expiresAt.timeIntervalSince1970 * 1000).rounded())),
                "expires": .integer(world.boot() + milliseconds(token.expiresIn())),
            ])
        }
        guard case .object(var members) = expected else {
            return differences.append(difference("caller", expected, came))
        }
        if members["wait"] != nil {
            if let came { differences.append(difference("caller", "waits", came)) }
            return
        }
        // What a host is told for its lease, a caller can't see.
        if members["use"] != nil {
            members["recheck"] = nil
            members["recheck_wall"] = nil
        }
        compare("caller", .object(members), came ?? "waits", &differences)
        guard let error = caller.error else { return }
        var dumped = ""
        dump(error, to: &dumped)
        let told = "\(error) \(String(reflecting: error)) \(error.localizedDescription) \(dumped)"
        for canary in canaries where told.contains(canary) { differences.append("    an error shows `\(canary)`") }
    }

    /// Does what the first step of a moment says; gives what is to be looked at besides, if anything.
    private func act(_ step: JSON) async throws -> Look? {
        let word = try word(of: step)
        var fields = try Fields("a step", step)
        let value = try fields.need(word)
        let view = try view(of: fields.take("want"))
        func label() throws -> String {
            guard let text = value.string else { throw Problem("  `\(word)` must be a string") }
            return text
        }
        switch word {
        case "ask":
            if fields.has("after") { return nil }
            let (minTTL, force) = (try fields.integer("min_ttl"), try fields.bool("force"))
            let timeout = try fields.integer("deadline").map { Duration.milliseconds($0 - world.boot()) }
            // A caller without wishes takes the short way, as most do.
            let isPlain = minTTL == nil && force == nil && timeout == nil
            callers[try label()] = (0..<(try fields.integer("times") ?? 1)).map { _ in
                Caller {
                    if isPlain { return try await view.token() }
                    return try await view.token(
                        minTTL: .milliseconds(minTTL ?? 0), force: force ?? false, timeout: timeout ?? .seconds(30))
                }
            }
        case "received":
            let answer = try WireAnswer(&fields)
            let headers = answer.headers.map { HTTPHeader(name: $0.name, value: $0.value) }
            try wire(label()).give(
                .success(HTTPResponse(status: Int(answer.status), headers: headers, body: answer.body)))
        case "failed":
            try wire(label()).give(.failure(ClientRun.failure(try fields.string("kind"))))
        case "attach":
            let (method, url) = (try fields.string("method") ?? "", try fields.string("url") ?? "")
            let expected = try fields.need("answer")
            guard let address = URL(string: url) else { throw Problem("  `\(url)` is no URL") }
            let caller = Caller { try await view.headers(method: method, url: address) }
            return { differences in
                let came = caller.shown { headers in
                    .object(["headers": .array(headers.map { [.string($0.key), .string($0.value)] })])
                }
                compare("answer", expected, came, &differences)
            }
        case "answered":
            guard let token = callers[try label()]?.first?.value else { throw Problem("  this caller has no token") }
            guard let status = try fields.integer("status"), let url = URL(string: try fields.string("url") ?? "")
            else {
                throw Problem("  `status` and `url` are needed in a run through the client")
            }
            let headers = try lines(fields.take("headers")).map { HTTPHeader(name: $0.name, value: $0.value) }
            let expected = try fields.need("answer")
            let caller = Caller {
                try await view.reject(token, method: "GET", url: url, status: Int(status), headers: headers)
            }
            return { differences in
                // `reject` says whether to ask again. That is all that a caller does with a verdict.
                compare("answer", .bool(expected == "retry"), caller.shown { .bool($0) }, &differences)
            }
        case "start":
            guard case .adopt(let adopt) = try Events.flow(value), let subject = adopt.want.subject,
                adopt.want.scope == nil, adopt.want.resource == nil, !adopt.onRotated
            else { throw Problem("  of the flows only a plain `adopt` is understood in a run through the client") }
            _ = try client.withSubject(
                subject, refreshToken: adopt.refreshToken?.expose(), subjectToken: adopt.subjectToken?.expose(),
                actorToken: adopt.actorToken?.expose())
        case "drop":
            for caller in callers.removeValue(forKey: try label()) ?? [] { caller.cancel() }
        case "invalidate":
            try await self.view(of: value == true ? nil : value).invalidate()
        case "close":
            Task { [client] in await client.close() }
        // The world's own timers are what ticks.
        case "tick": break
        default: throw Problem("  `\(word)` is not understood in a run through the client")
        }
        return nil
    }

    private func view(of want: JSON?) throws -> Client {
        let want = try Events.want(want)
        var view = client
        if let subject = want.subject { view = try view.withSubject(subject) }
        if let scope = want.scope { view = view.withScope(scope) }
        if let resource = want.resource { view = view.withResource(resource) }
        return view
    }

    private func wire(_ name: String) throws -> WireRequest {
        guard let wire = sent[name] else { throw Problem("  no request is called `\(name)`") }
        return wire
    }

    /// What an HTTP library throws; where there is one in Foundation, the client has to find out itself what it means.
    private static func failure(_ kind: String?) throws -> any Error {
        switch kind {
        case "not_sent": return URLError(.cannotConnectToHost)
        case "maybe_sent": return URLError(.networkConnectionLost)
        case "timeout": return TransportFailure(.timeout)
        case "too_large": return TransportFailure(.tooLarge)
        default: throw Problem("  the kind `\(kind ?? "")` is not understood in a run through the client")
        }
    }

    /// A client of the options that the vector gives, each at its place in the public API.
    private static func client(_ options: [String: JSON], _ world: World) throws -> Client {
        var fields = try Fields("`options`", .object(options))
        guard let profile = fields.take("profile") else { throw Problem("  `profile` is missing") }
        let (clientID, secret) = (try fields.string("client_id"), try fields.string("client_secret"))
        let scope = try fields.strings("scope")
        var configuration = Configuration()
        configuration.backgroundRefresh = try fields.bool("aside") ?? true
        if case .object(let policy)? = fields.take("policy") {
            configuration.policy = try policy.mapValues { value in
                switch value {
                case .integer(let number): return .number(Double(number))
                case .number(let number): return .number(number)
                case .string(let word): return .word(word)
                default: throw Problem("  \(value.text) is no constant of a policy")
                }
            }
        }
        configuration.grant = try fields.string("grant")
        configuration.clientAuth = try fields.string("client_auth")
        configuration.audience = try fields.strings("audience") ?? []
        configuration.resource = try fields.strings("resource") ?? []
        configuration.redirectURI = try fields.string("redirect_uri")
        configuration.apiOrigins = try fields.strings("api_origins") ?? []
        configuration.certificateThumbprint = try fields.string("tls_id")
        configuration.certificateBound = try fields.bool("certificate_bound")
        configuration.subjectTokenType = try fields.string("subject_token_type")
        configuration.actorTokenType = try fields.string("actor_token_type")
        configuration.requestedTokenType = try fields.string("requested_token_type")
        for name in ["base_url", "tenant_id", "token_endpoint", "authorization_endpoint", "issuer", "region"] {
            if let value = try fields.string(name) { configuration.variables[name] = value }
        }
        try fields.end()
        world.inhabit(&configuration)
        return try Client(
            profile.string ?? profile.text, clientID: clientID, clientSecret: secret, scope: scope,
            configuration: configuration)
    }
}

/// Somebody who has called a verb of the client.
///
/// `@unchecked`: every access to what can change is made under `lock`.
final class Caller<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var result: Result<Value, any Error>?
    private var task: Task<Void, Never>?

    init(_ call: @escaping @Sendable () async throws -> Value) {
        task = Task { [weak self] in
            let result: Result<Value, any Error>
            do {
                result = .success(try await call())
            } catch {
                result = .failure(error)
            }
            self?.end(result)
        }
    }

    private func end(_ result: Result<Value, any Error>) {
        lock.withLock { self.result = result }
    }

    func cancel() {
        task?.cancel()
    }

    var value: Value? {
        try? lock.withLock { result }?.get()
    }

    var error: (any Error)? {
        guard case .failure(let error)? = lock.withLock({ result }) else { return nil }
        return error
    }

    /// What became of the caller; nothing while they wait.
    func shown(_ show: (Value) -> JSON) -> JSON? {
        switch lock.withLock({ result }) {
        case nil: return nil
        case .success(let value)?: return show(value)
        case .failure(let error as RemintError)?: return failure(error)
        case .failure(let error)?: return .string("\(error)")
        }
    }
}

/// An error of the package, as the core writes it.
private func failure(_ error: RemintError) -> JSON {
    .members([
        "fail": .string(error.code),
        "family": .string(error.family.rawValue),
        "message": .string(error.message),
        "hint": error.hint.map(JSON.string),
        "status": error.status.map { .integer(Int64($0)) },
        "retryable": .bool(error.isRetryable),
        "retry_after": error.retryAfter.map { .integer(milliseconds($0)) },
        "oauth_error": error.oauthError.map(JSON.string),
        "pointer": error.pointer.map(JSON.string),
        "lifetime": error.lifetime.map { .integer(milliseconds($0)) },
        "ambiguous": error.isAmbiguous ? true : nil,
        "acr_values": error.acrValues.map(JSON.string),
        "max_age": error.maxAge.map { .integer(milliseconds($0) / 1000) },
    ])
}

private func milliseconds(_ duration: Duration) -> Int64 {
    duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000
}
