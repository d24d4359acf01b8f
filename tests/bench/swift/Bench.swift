// Measures us and what people write by hand in one run, and prints how they compare.
import Foundation
import Native
import Remint
import RemintCore

@main
enum Bench {
    static func main() async throws {
        print("Swift, optimized for speed")
        try await cachedToken()
        try await coldTasks()
        try await steps()
        try await exchange()
        try await signatures()
        try size()
    }
}

// MARK: A cached token

private func cachedToken() async throws {
    let client = try remint { HTTPResponse(status: 200, headers: jsonHeaders, body: Data(tokenAnswer.utf8)) }
    _ = try await client.token()
    let manager = TokenManager { Data(tokenAnswer.utf8) }
    _ = try await manager.getToken()
    let careful = SingleFlightTokenManager { Data(tokenAnswer.utf8) }
    _ = try await careful.getToken()
    let held = Held()

    try await compare(
        "Cached token, at once", Work("`client.peek()`") { client.peek() },
        [
            // At most 1.2 × two clock reads.
            Work("two clock reads", target: 0.83) { held.read() },
            Work("`Date()` and `ContinuousClock.now`") { (Date(), ContinuousClock.now) },
        ])
    try await compare(
        "Cached token, awaited", Work(awaited: "`await client.token()`") { try await client.token() },
        [
            Work(awaited: "two clock reads in an async function", target: 0.83) { await held.readLater() },
            Work(awaited: "TokenManager by hand, an actor (phoenix-wallet's sample)", target: 1) {
                try await manager.getToken()
            },
            Work(awaited: "the same, with its request as a task", target: 1) { try await careful.getToken() },
            Work(awaited: "an async function that has the token at hand") { await held.atHand() },
        ])
}

/// A token and when it ends, on two clocks.
private final class Held: Sendable {
    private let token = tokenText
    private let wall = clock(CLOCK_REALTIME) + 3_600_000
    private let boot = clock(CLOCK_BOOTTIME) + 3_600_000

    @inline(never)
    func read() -> String? {
        clock(CLOCK_REALTIME) < wall && clock(CLOCK_BOOTTIME) < boot ? token : nil
    }

    @inline(never)
    func readLater() async -> String? {
        read()
    }

    @inline(never)
    func atHand() async -> String? {
        token
    }
}

private func clock(_ clock: clockid_t) -> Int {
    var time = timespec()
    clock_gettime(clock, &time)
    return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

// MARK: Many at once

/// How many token requests 50 tasks cost that find nothing in the cache.
private func coldTasks() async throws {
    var lines = ["| 50 cold tasks at once | token requests | target | |", "|---|---:|---:|---|"]
    let requests = Requests()

    let client = try remint {
        HTTPResponse(status: 200, headers: jsonHeaders, body: await requests.answer())
    }
    try await atOnce { _ = try await client.token() }
    let ours = await requests.taken()
    lines.append("| Remint | \(ours) | 1 | \(ours == 1 ? "met" : "missed") |")

    let manager = TokenManager { await requests.answer() }
    try await atOnce { _ = try await manager.getToken() }
    lines.append("| TokenManager by hand, an actor | \(await requests.taken()) | | |")

    let careful = SingleFlightTokenManager { await requests.answer() }
    try await atOnce { _ = try await careful.getToken() }
    lines.append("| the same, with its request as a task | \(await requests.taken()) | | |")
    print("\n" + lines.joined(separator: "\n"))
}

private func atOnce(_ work: @escaping @Sendable () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<50 { group.addTask(operation: work) }
        try await group.waitForAll()
    }
}

/// Stands for a token endpoint that takes 20 ms, and counts.
private actor Requests {
    private var count = 0

    func answer() async -> Data {
        count += 1
        try? await Task.sleep(for: .milliseconds(20))
        return Data(tokenAnswer.utf8)
    }

    func taken() -> Int {
        defer { count = 0 }
        return count
    }
}

// MARK: The step machine

/// What it costs to ask the core itself: what is cached is not asked there.
private func steps() async throws {
    let now = Now(wall: 1_700_000_000_000, boot: 1_000_000)
    let entropy = Data(count: 32)
    let ask = Event.ask(want: Want(), minTtl: 0, force: false, deadline: nil, after: nil, call: nil)
    let headers = [Header(name: "content-type", value: Secret("application/json"))]
    let body = SecretBytes(Data(tokenAnswer.utf8))

    /// A cold key: the question, the request that it costs, and its answer.
    let fetch: (Core) throws -> Void = { core in
        guard case .send(let op, _, _, _, _, _) = core.handle(event: ask, now: now, entropy: entropy).operations.first
        else {
            throw Unexpected()
        }
        let step = core.handle(
            event: .received(op: op, status: 200, headers: headers, body: body), now: now, entropy: entropy)
        guard step.settled.count == 1 else { throw Unexpected() }
    }
    let cached = try Core(options: options)
    try fetch(cached)
    try await compare(
        "The step machine, by its FFI",
        Work("a cached token, asked of the core") { cached.handle(event: ask, now: now, entropy: entropy) },
        [
            Work("a cold one: the core made, asked, and given the answer") { try fetch(try Core(options: options)) },
            Work("the core made, and nothing asked") { try Core(options: options) },
        ])
}

// MARK: One token request

private func exchange() async throws {
    let core = try Core(options: options)
    let now = Now(wall: 1_700_000_000_000, boot: 1_000_000)
    let headers = [Header(name: "content-type", value: Secret("application/json"))]
    let body = Data(tokenAnswer.utf8)
    try await compare(
        "Build a request, read an 800-byte token",
        Work("`core.build()`, `finish()`") {
            let exchange = try core.build(request: .clientCredentials(scope: nil))
            return (
                exchange.request(),
                try exchange.finish(status: 200, headers: headers, body: SecretBytes(body), started: now)
            )
        },
        [
            Work("by hand: `URLComponents` and `JSONDecoder`") {
                var form = URLComponents()
                form.queryItems = [
                    URLQueryItem(name: "grant_type", value: "client_credentials"),
                    URLQueryItem(name: "client_id", value: id),
                    URLQueryItem(name: "client_secret", value: secret), URLQueryItem(name: "scope", value: scope),
                ]
                return (Data((form.percentEncodedQuery ?? "").utf8), try JSONDecoder().decode(Answer.self, from: body))
            }
        ])
}

// MARK: Signatures

/// What is signed for each request: proofs of possession and client assertions. The key is the same for all, and signs by the
/// same library.
private func signatures() async throws {
    let key = try PrivateKey()
    let jwk = try key.jwk
    let now = Now(wall: 1_700_000_000_000, boot: 1_000_000)
    let headers = [Header(name: "content-type", value: Secret("application/json"))]
    let placeholder = String(repeating: "A", count: 86)

    let told = String(decoding: try JSONSerialization.data(withJSONObject: jwk), as: UTF8.self)
    let bound = try signing(
        #""client_secret": "s", "dpop": {"name": "d", "alg": "ES256", "jwk": \#(told)}"#, "client_secret_basic")
    let first = bound.handle(event: question(force: false), now: now, entropy: entropy())
    guard case .sign(let op, _, _, _, let input, _) = first.operations.first else { throw Unexpected() }
    let sent = bound.handle(
        event: .signed(op: op, signature: base64URL(try key.sign(Data(input.utf8)))), now: now, entropy: entropy())
    guard case .send(let sending, _, _, _, _, _) = sent.operations.first else { throw Unexpected() }
    let answer = SecretBytes(Data(tokenAnswer.replacing("Bearer", with: "DPoP").utf8))
    _ = bound.handle(
        event: .received(op: sending, status: 200, headers: headers, body: answer), now: now, entropy: entropy())
    guard case .use(let lease) = bound.handle(event: question(force: false), now: now, entropy: entropy()).answer else {
        throw Unexpected()
    }
    /// One API request's proof: what is signed, the signature, and the headers.
    func proof(_ sign: (String) throws -> String) throws -> [Header] {
        func attach(_ after: String?) -> Event {
            .attach(
                want: Want(), call: lease.leaseCall, method: "GET", url: "https://api.example/v1/orders?page=2",
                insecureQuery: false, after: after)
        }
        let step = bound.handle(event: attach(nil), now: now, entropy: entropy())
        guard case .wait(let flight, _) = step.answer, case .sign(let op, _, _, _, let input, _) = step.operations.first
        else { throw Unexpected() }
        _ = bound.handle(event: .signed(op: op, signature: try sign(input)), now: now, entropy: entropy())
        guard case .headers(let lines) = bound.handle(event: attach(flight), now: now, entropy: entropy()).answer else {
            throw Unexpected()
        }
        return lines
    }
    try await compare(
        "A DPoP proof for an API request, ES256", inASecond: true,
        Work("`attach`, signed by OpenSSL") { try proof { base64URL(try key.sign(Data($0.utf8))) } },
        [
            Work("by hand: `JSONSerialization`, signed by OpenSSL", target: 1) {
                try jwt(
                    ["typ": "dpop+jwt", "alg": "ES256", "jwk": jwk],
                    [
                        "jti": UUID().uuidString, "htm": "GET", "htu": "https://api.example/v1/orders",
                        "iat": 1_700_000_000, "ath": base64URL(try sha256(Data(tokenText.utf8))),
                    ], key)
            },
            Work("the signature alone") { try key.sign(Data(input.utf8)) },
            Work("`attach` alone: signed by nobody") { try proof { _ in placeholder } },
        ])

    let signed = try signing(
        #""signing_key": {"name": "k", "alg": "ES256", "kid": "k1"}, "assertion_audience": "https://login.example""#,
        "private_key_jwt")
    // By turns: a server that gives the same token once more is not asked again at once.
    var bodies = [tokenAnswer, tokenAnswer.replacing("eyJ", with: "eyK")].map { SecretBytes(Data($0.utf8)) }
    /// One token request with an assertion, and its answer.
    func request(_ sign: (String) throws -> String) throws {
        bodies.swapAt(0, 1)
        let step = signed.handle(event: question(force: true), now: now, entropy: entropy())
        guard case .sign(let op, _, _, _, let input, _) = step.operations.first else { throw Unexpected() }
        let next = signed.handle(event: .signed(op: op, signature: try sign(input)), now: now, entropy: entropy())
        guard case .send(let sending, _, _, _, _, _) = next.operations.first else { throw Unexpected() }
        let last = signed.handle(
            event: .received(op: sending, status: 200, headers: headers, body: bodies[0]), now: now, entropy: entropy())
        guard last.settled.count == 1 else { throw Unexpected() }
    }
    try await compare(
        "A token request with a `private_key_jwt` assertion, ES256, and its answer", inASecond: true,
        Work("`ask`, signed by OpenSSL") { try request { base64URL(try key.sign(Data($0.utf8))) } },
        [
            Work("by hand: `JSONSerialization`, `URLComponents` and `JSONDecoder`, signed by OpenSSL", target: 1) {
                let assertion = try jwt(
                    ["typ": "client-authentication+jwt", "alg": "ES256", "kid": "k1"],
                    [
                        "iss": id, "sub": id, "aud": "https://login.example", "jti": UUID().uuidString,
                        "iat": 1_700_000_000, "exp": 1_700_000_060,
                    ], key)
                var form = URLComponents()
                form.queryItems = [
                    URLQueryItem(name: "grant_type", value: "client_credentials"),
                    URLQueryItem(
                        name: "client_assertion_type",
                        value: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                    URLQueryItem(name: "client_assertion", value: assertion),
                ]
                let answer = try JSONDecoder().decode(Answer.self, from: Data(tokenAnswer.utf8))
                return (Data((form.percentEncodedQuery ?? "").utf8), answer)
            },
            Work("the signature alone") { try key.sign(Data(input.utf8)) },
            Work("`ask` alone: signed by nobody") { try request { _ in placeholder } },
        ])
}

private func signing(_ options: String, _ method: String) throws -> Core {
    let profile = #"""
        {"name": "signed", "title": "Signed", "grants": ["client_credentials"], "api_origins": ["https://api.example"],
         "token": {"endpoint": "https://login.example/token", "client_auth": ["\#(method)"]}}
        """#
    return try Core(options: Secret(#"{"profile": \#(profile), "client_id": "\#(id)", \#(options)}"#))
}

private func question(force: Bool) -> Event {
    .ask(want: Want(), minTtl: 0, force: force, deadline: nil, after: nil, call: nil)
}

/// As the client draws it.
private func entropy() -> Data {
    var generator = SystemRandomNumberGenerator()
    var bytes = Data(capacity: 32)
    for _ in 0..<4 { withUnsafeBytes(of: generator.next()) { bytes.append(contentsOf: $0) } }
    return bytes
}

private func jwt(_ header: [String: Any], _ claims: [String: Any], _ key: PrivateKey) throws -> String {
    let parts = try [header, claims].map { base64URL(try JSONSerialization.data(withJSONObject: $0)) }
    let input = parts.joined(separator: ".")
    return "\(input).\(base64URL(try key.sign(Data(input.utf8))))"
}

private func remint(_ answers: @escaping @Sendable () async throws -> HTTPResponse) throws -> Client {
    var configuration = Configuration()
    configuration.transport = { _ in try await answers() }
    return try Client(
        "phoenix-wallet", clientID: id, clientSecret: secret, scope: scope.split(separator: " ").map(String.init),
        configuration: configuration)
}

struct Unexpected: Error {
    let line: Int

    init(line: Int = #line) {
        self.line = line
    }
}

private let id = "wallet-client"
private let secret = "s3cr3t-of-the-wallet"
private let scope = "wallets:read wallets:write"
private let options = Secret(
    #"{"profile":"phoenix-wallet","client_id":"\#(id)","client_secret":"\#(secret)","scope":"\#(scope)"}"#)
private let jsonHeaders = [(name: "content-type", value: "application/json")]
/// 800 characters, as a JWT has them.
private let tokenText = String(
    ("eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ." + String(repeating: "abcdefghijklmnopqrstuvwxyz", count: 40)).prefix(800))
private let tokenAnswer =
    #"{"access_token":"\#(tokenText)","token_type":"Bearer","expires_in":3600,"scope":"\#(scope)"}"#
