import Foundation

@testable import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A token endpoint and an API that answer out of a closure, and count.
final class FakeServer: Sendable {
    typealias Answer = @Sendable (_ request: HTTPRequest, _ number: Int) async throws -> HTTPResponse

    private let requests = Guarded<[HTTPRequest]>([])
    private let answer: Answer

    init(_ answer: @escaping Answer = { _, number in FakeServer.token("T\(number)") }) {
        self.answer = answer
    }

    var transport: Transport {
        { request in
            let number = self.requests.withLock { requests in
                requests.append(request)
                return requests.count
            }
            return try await self.answer(request, number)
        }
    }

    var received: [HTTPRequest] { requests.withLock { $0 } }

    static func token(_ token: String, more: [String: String] = [:], expiresIn: Int = 3600) -> HTTPResponse {
        let members = ["access_token": token, "token_type": "Bearer"].merging(more) { $1 }
        let fields = members.map { "\"\($0.key)\":\"\($0.value)\"" } + ["\"expires_in\":\(expiresIn)"]
        return json(200, "{\(fields.joined(separator: ","))}")
    }

    static func json(_ status: Int, _ text: String) -> HTTPResponse {
        HTTPResponse(status: status, headers: [("Content-Type", "application/json")], body: Data(text.utf8))
    }
}

extension HTTPRequest {
    var form: [String: String] {
        let text = String(decoding: body ?? Data(), as: UTF8.self).replacingOccurrences(of: "+", with: "%20")
        let items = URLComponents(string: "?" + text)?.queryItems ?? []
        return Dictionary(items.map { ($0.name, $0.value ?? "") }, uniquingKeysWith: { $1 })
    }

    func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }
}

/// Clocks that stand still until they are told to go on.
final class ManualClock: TimeSource {
    private struct State {
        var wall: Int64 = 1_700_000_000_000
        var boot: Int64 = 0
        var sleepers: [Int: (until: Int64, continuation: CheckedContinuation<Void, any Error>)] = [:]
        var count = 0
    }

    private let state = Guarded(State())

    func wall() -> Int64 { state.withLock { $0.wall } }
    func boot() -> Int64 { state.withLock { $0.boot } }

    func sleep(milliseconds: Int64) async throws {
        let id = state.withLock { state in
            state.count += 1
            return state.count
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                state.withLock { $0.sleepers[id] = ($0.boot + milliseconds, continuation) }
                if Task.isCancelled { cancel(id) }
            }
        } onCancel: {
            cancel(id)
        }
    }

    private func cancel(_ id: Int) {
        wake { sleeper, _ in
            sleeper == id
        } with: {
            $0.resume(throwing: CancellationError())
        }
    }

    func advance(seconds: Double) {
        let now = state.withLock { state in
            state.wall += Int64(seconds * 1000)
            state.boot += Int64(seconds * 1000)
            return state.boot
        }
        wake { _, until in
            until <= now
        } with: {
            $0.resume()
        }
    }

    /// Whether somebody slept, whom this brings nearer to their time.
    func advanceOnceSomebodySleeps(seconds: Double) -> Bool {
        guard
            state.withLock({ state in state.sleepers.values.contains { $0.until - state.boot == Int64(seconds * 1000) }
            })
        else { return false }
        advance(seconds: seconds)
        return true
    }

    private func wake(_ who: (Int, Int64) -> Bool, with resume: (CheckedContinuation<Void, any Error>) -> Void) {
        let woken = state.withLock { state in
            let woken = state.sleepers.filter { who($0.key, $0.value.until) }
            for id in woken.keys { state.sleepers[id] = nil }
            return woken
        }
        for sleeper in woken.values { resume(sleeper.continuation) }
    }
}

/// A door that opens once.
final class Gate: Sendable {
    private let state = Guarded<(isOpen: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// Waits until something is so that other tasks bring about; for ten seconds at most.
func until(_ condition: () -> Bool) async -> Bool {
    for _ in 0..<10_000 {
        if condition() { return true }
        try? await Task.sleep(for: .milliseconds(1))
    }
    return condition()
}

/// Whoever fails does not try again while a caller of these tests waits.
let longPauses: [String: PolicyValue] = ["backoff_first_min": 20, "backoff_first_max": 30]

let clientSecret = "s3cret-of-the-client"

func wallet(_ server: FakeServer, _ change: (inout Configuration) -> Void = { _ in }) throws -> Client {
    var configuration = Configuration()
    configuration.variables = ["token_endpoint": "https://login.example/token", "base_url": "https://api.example"]
    configuration.transport = server.transport
    change(&configuration)
    return try Client(
        "phoenix-wallet", clientID: "me", clientSecret: clientSecret, scope: ["wallets:read"],
        configuration: configuration)
}

func codeFlow(_ server: FakeServer) throws -> Client {
    let profile = """
        {"name": "acme", "title": "Acme", "grants": ["authorization_code"], "api_origins": ["https://api.example"],
         "token": {"endpoint": "https://login.example/token", "client_auth": ["none"]},
         "authorization": {"endpoint": "https://login.example/authorize"}}
        """
    var configuration = Configuration()
    configuration.transport = server.transport
    configuration.redirectURI = "https://app.example/callback"
    return try Client(profile, clientID: "app", configuration: configuration)
}
