import Foundation
import Remint

/// Many callers at once: tasks, and threads that start tasks.
let crowds: [Test] = [
    Test("1,000 tasks on a cold key cause one token request") { lane in
        try await lane.settings(["token_latency_ms": 100])
        let client = try lane.client("phoenix-wallet")
        let tokens = try await within(.seconds(60)) { await crowd(1000) { _ in try await client.token().accessToken } }
        try equal(Set(tokens.map { try $0.get() }).count, 1)
        try equal(try await lane.tokenRequests(), 1)
    },

    Test("64 threads on a cold key cause one token request") { lane in
        try await lane.settings(["token_latency_ms": 100])
        let client = try lane.client("phoenix-wallet")
        let tokens = Collected<String>()
        let failures = Collected<String>()
        let threads = (0..<64).map { _ in
            Thread {
                let isDone = DispatchSemaphore(value: 0)
                Task {
                    do { tokens.add(try await client.token().accessToken) } catch { failures.add("\(error)") }
                    isDone.signal()
                }
                isDone.wait()
            }
        }
        for thread in threads { thread.start() }
        try await until(.seconds(60)) { tokens.all.count + failures.all.count == 64 }
        try equal(failures.all, [])
        try equal(Set(tokens.all).count, 1)
        try equal(try await lane.tokenRequests(), 1)
    },

    Test("1,000 tasks at the soft margin cause one request, and none of them waits for it") { lane in
        let clock = MovedClock()
        let client = try lane.client("phoenix-wallet") { $0.clock = clock }
        let first = try await client.token().accessToken
        try await lane.fault(["hold": true])
        clock.move(to: hour - 200_000)
        // The answer is held until everybody has been served.
        let tokens = try await within(.seconds(60)) { await crowd(1000) { _ in try await client.token().accessToken } }
        try equal(Set(tokens.map { try $0.get() }), [first])
        try await until(.seconds(10)) { try await lane.tokenRequests() == 2 }
        try await lane.release()
        try await until(.seconds(10)) { try await client.token().generation == 2 }
        try equal(try await lane.tokenRequests(), 2)
    },

    Test("1,000 tasks at the hard margin wait for the one request") { lane in
        let clock = MovedClock()
        let client = try lane.client("phoenix-wallet") { $0.clock = clock }
        let first = try await client.token().accessToken
        try await lane.settings(["token_latency_ms": 300])
        clock.move(to: hour - 20_000)
        let tokens = try await within(.seconds(60)) { await crowd(1000) { _ in try await client.token().accessToken } }
        let different = try Set(tokens.map { try $0.get() })
        try equal(different.count, 1)
        try expect(!different.contains(first), "all were served the old token")
        try equal(try await lane.tokenRequests(), 2)
    },

    Test("a failed flight fails its 1,000 waiters with one request") { lane in
        try await lane.fault(["status": 400, "error": "invalid_client", "count": NSNull(), "delay_ms": 200])
        let client = try lane.client("phoenix-wallet")
        let results = try await within(.seconds(60)) { await crowd(1000) { _ in try await client.token() } }
        for result in results { try await refusal("invalid_client") { try result.get() } }
        try equal(try await lane.tokenRequests(), 1)
    },

    Test("1,000 keys at once cause 1,000 requests, and none waits for another") { lane in
        let scopes = (0..<1000).map { "scope-\($0)" }
        try await lane.control("POST", "clients", ["client_id": "many", "client_secret": "x", "scopes": scopes])
        try await lane.settings(["token_latency_ms": 1000])
        // A busy machine may take a while for a thousand connections.
        let client = try lane.client("phoenix-market", clientID: "many", secret: "x") {
            $0.requestTimeout = .seconds(60)
        }
        let started = ContinuousClock.now
        let tokens = try await within(.seconds(90)) {
            await crowd(1000) { try await client.withScope(["scope-\($0)"]).token(timeout: .seconds(60)).accessToken }
        }
        try equal(Set(tokens.map { try $0.get() }).count, 1000)
        try equal(try await lane.tokenRequests(), 1000)
        // One after the other they would take 1,000 s.
        try expect(ContinuousClock.now - started < .seconds(60), "it took \(ContinuousClock.now - started)")
        let atOnce = try await lane.counter("token", "running_max")
        try expect(atOnce > 100, "\(atOnce) at once")
    },

    Test("token requests that are over hold no connection") { lane in
        #if os(Linux)
            let scopes = (0..<200).map { "scope-\($0)" }
            try await lane.control("POST", "clients", ["client_id": "many", "client_secret": "x", "scopes": scopes])
            let client = try lane.client("phoenix-market", clientID: "many", secret: "x")
            let before = try openSockets()
            let tokens = await crowd(200) { try await client.withScope([scopes[$0]]).token(timeout: .seconds(60)) }
            for token in tokens { _ = try token.get() }
            try await until(.seconds(10)) { try openSockets() < before + 50 }
        #endif
    },

    Test("a slow key does not delay another") { lane in
        try await lane.control(
            "POST", "clients", ["client_id": "two", "client_secret": "x", "scopes": ["slow", "fast"]])
        let client = try lane.client("phoenix-market", clientID: "two", secret: "x")
        try await lane.fault(["hold": true])
        let slow = Task { try await client.withScope(["slow"]).token() }
        try await until(.seconds(10)) { try await lane.counter("token", "running") == 1 }
        _ = try await within(.seconds(8)) { try await client.withScope(["fast"]).token() }
        try await lane.release()
        _ = try await slow.value
    },

    Test("300 of 1,000 tasks cancelled at random harm nobody") { lane in
        try await lane.settings(["token_latency_ms": 500])
        let client = try lane.client("phoenix-wallet")
        let callers = (0..<1000).map { _ in Task { try await client.token().accessToken } }
        for index in (0..<1000).shuffled().prefix(300) {
            callers[index].cancel()
            if index.isMultiple(of: 3) { await Task.yield() }
        }
        let results = try await within(.seconds(60)) {
            var results: [Result<String, any Error>] = []
            for caller in callers { results.append(await caller.result) }
            return results
        }
        let cancelled = results.filter {
            guard case .failure(let error) = $0 else { return false }
            return error is CancellationError
        }
        let served = results.compactMap { try? $0.get() }
        try equal(served.count + cancelled.count, 1000, "served or cancelled:")
        // A caller whose task was cancelled before it ran may find the token there, and takes it.
        try expect(served.count >= 700, "\(served.count) served")
        try equal(Set(served).count, 1)
        try equal(try await lane.tokenRequests(), 1)
        try expect(client.peek() != nil, "nothing is cached")
    },

    Test("a caller who is cancelled leaves at once, with CancellationError") { lane in
        try await lane.fault(["hold": true])
        let client = try lane.client("phoenix-wallet")
        let caller = Task { try await client.token() }
        try await until(.seconds(10)) { try await lane.counter("token", "running") == 1 }
        caller.cancel()
        let result = try await within(.seconds(5)) { await caller.result }
        guard case .failure(let error) = result, error is CancellationError else { throw Unmet("came \(result)") }
        try await lane.release()
        _ = try await client.token()
        try equal(try await lane.tokenRequests(), 1)
    },

    Test("even if all who wait are cancelled, the request fills the cache") { lane in
        try await lane.fault(["hold": true])
        let client = try lane.client("phoenix-wallet")
        let callers = (0..<20).map { _ in Task { try await client.token() } }
        try await until(.seconds(10)) { try await lane.counter("token", "running") == 1 }
        for caller in callers { caller.cancel() }
        for caller in callers { _ = await caller.result }
        try await lane.release()
        try equal(try await client.token().generation, 1)
        try equal(try await lane.tokenRequests(), 1)
    },

    Test("100 API calls with a revoked token cost one token request, and all succeed") { lane in
        let client = try lane.client("personify")
        _ = try await client.token()
        try await lane.revoke()
        let statuses = try await within(.seconds(60)) {
            await crowd(100) { _ in
                try await client.data(for: post(lane.api("personify", "v1/people"), "x")).1.statusCode
            }
        }
        try equal(Set(statuses.map { try $0.get() }), [200])
        try equal(try await lane.tokenRequests(), 2)
    },
]

/// How many sockets this process has open.
private func openSockets() throws -> Int {
    let folder = "/proc/self/fd"
    return try FileManager.default.contentsOfDirectory(atPath: folder).count { name in
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(name)"))?.hasPrefix("socket:") == true
    }
}

/// In milliseconds.
let hour: Int64 = 3_600_000
