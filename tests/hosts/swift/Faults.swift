import Foundation
import Remint

/// A way in which the authority misbehaves for good, and what a caller is told then.
struct Fault: Sendable {
    let name: String
    /// The rule, as JSON: what goes to the authority is made of it for each test.
    let rule: String
    let code: String
    var status: Int?
    var isRetryable = false
    /// The server said how long to wait: at least so many seconds are left of it.
    var retryAfter: Int64?

    func start(at lane: Lane, count: Int? = nil) async throws {
        var rule = try object(Data(self.rule.utf8))
        rule["count"] = count.map { $0 as Any } ?? NSNull()
        try await lane.fault(rule)
    }

    static func passing(_ name: String, _ rule: String, _ status: Int, retryAfter: Int64? = nil) -> Fault {
        Fault(
            name: name, rule: rule, code: "server_unavailable", status: status, isRetryable: true,
            retryAfter: retryAfter)
    }

    static func lost(_ name: String, _ rule: String, code: String = "transport_failed") -> Fault {
        Fault(name: name, rule: rule, code: code, isRetryable: true)
    }

    static func garbled(_ name: String, _ rule: String, _ status: Int) -> Fault {
        Fault(name: name, rule: rule, code: "unexpected_answer", status: status)
    }
}

private let lasting: [Fault] = [
    .passing("500", #"{"status": 500}"#, 500),
    .passing("502 with a page", #"{"status": 502, "body": "<html>", "content_type": "text/html"}"#, 502),
    .passing("503", #"{"status": 503}"#, 503),
    .passing("503 with Retry-After in seconds", #"{"status": 503, "retry_after": "7"}"#, 503, retryAfter: 6),
    .passing("429 with Retry-After as a date", #"{"status": 429, "retry_after": "date+9"}"#, 429, retryAfter: 7),
    .passing("408", #"{"status": 408}"#, 408),
    .passing("an OAuth error in a 503", #"{"status": 503, "error": "invalid_client"}"#, 503),
    Fault(
        name: "invalid_client", rule: #"{"status": 401, "error": "invalid_client"}"#, code: "invalid_client",
        status: 401),
    Fault(
        name: "invalid_client with a challenge for Basic",
        rule: #"{"status": 401, "error": "invalid_client", "headers": {"WWW-Authenticate": "Basic realm=\"a\""}}"#,
        code: "invalid_client", status: 401),
    Fault(
        name: "invalid_scope", rule: #"{"status": 400, "error": "invalid_scope"}"#, code: "invalid_scope", status: 400),
    Fault(name: "a bare 401", rule: #"{"status": 401}"#, code: "invalid_client", status: 401),
    .garbled("a bare 403", #"{"status": 403}"#, 403),
    .garbled("a bare 404", #"{"status": 404}"#, 404),
    .garbled("a code that nobody knows", #"{"status": 400, "error": "whatever"}"#, 400),
    .garbled("garbage", #"{"garbage": true}"#, 200),
    .garbled("an empty 200", #"{"status": 200, "body": ""}"#, 200),
    .garbled("a page with 200", #"{"body": "<html></html>", "content_type": "text/html"}"#, 200),
    .garbled("a redirect", #"{"redirect": "https://elsewhere.example/"}"#, 307),
    Fault(name: "100 MB", rule: #"{"body_bytes": 104857600}"#, code: "answer_too_large"),
    .lost("a connection cut before", #"{"cut": "before"}"#),
    .lost("a connection cut after processing", #"{"cut": "after_processing"}"#),
    .lost("a connection cut after the headers", #"{"cut": "after_headers"}"#),
    .lost("a connection cut in the body", #"{"cut": "mid_body"}"#),
    .lost("no answer", #"{"hold": true}"#, code: "timeout"),
    .lost("a body byte by byte", #"{"slow_body_ms_per_byte": 100}"#, code: "timeout"),
]

/// What must be in nothing that is said.
private let secrets = ["s3cret", "s3cret%2B%2F%25%26%3A+odd"]

/// Each way in which the authority can misbehave: the outcome that is expected, no hang, no secret in what is said.
let faults: [Test] = forGood + inHand + once + others

private let forGood = lasting.map { fault in
    Test("\(fault.name), for good: \(fault.code)") { lane in
        try await fault.start(at: lane)
        let notices = Collected<Notice>()
        // A busy machine is slow, too: only where slowness is the fault is there little time, and little patience only with
        // a server that says how long to wait.
        let client = try lane.client("phoenix-wallet") {
            $0.requestTimeout = fault.code == "timeout" ? .milliseconds(700) : .seconds(10)
            $0.onNotice = { notices.add($0) }
        }
        let patience: Duration = fault.retryAfter == nil ? .seconds(20) : .seconds(2)
        let results = try await within(.seconds(60)) {
            await crowd(20) { _ in try await client.token(timeout: patience) }
        }
        for result in results {
            let error = try await refusal(fault.code) { try result.get() }
            if let status = fault.status { try equal(error.status, status, "\(error):") }
            try equal(error.isRetryable, fault.isRetryable, "\(error):")
            if let least = fault.retryAfter {
                try expect(
                    (error.retryAfter ?? .zero) >= .seconds(least), "retryAfter \(String(describing: error.retryAfter))"
                )
            }
            for secret in secrets {
                try expect(!everythingShown(of: error).contains(secret), everythingShown(of: error))
            }
            if let cause = error.underlyingError {
                for secret in secrets {
                    try expect(!everythingShown(of: cause).contains(secret), everythingShown(of: cause))
                }
            }
        }
        for notice in notices.all {
            for secret in secrets {
                try expect(!everythingShown(of: notice).contains(secret), everythingShown(of: notice))
            }
        }
        let requests = try await lane.tokenRequests()
        try expect(requests <= 5, "\(requests) requests")
        try await lane.release()
        try await within(.seconds(20)) { await client.close() }
    }
}

private let inHand = lasting.map { fault in
    Test("\(fault.name), while a token is in hand: nobody fails") { lane in
        let clock = MovedClock()
        let client = try lane.client("phoenix-wallet") {
            $0.clock = clock
            $0.requestTimeout = .milliseconds(500)
        }
        let token = try await client.token().accessToken
        try await fault.start(at: lane)
        for left: Int64 in [200_000, 20_000] {
            clock.move(to: hour - left)
            let tokens = try await within(.seconds(40)) {
                await crowd(50) { _ in try await client.token().accessToken }
            }
            try equal(Set(tokens.map { try $0.get() }), [token])
        }
        try await lane.release()
        try await within(.seconds(20)) { await client.close() }
    }
}

private let once = lasting.filter { $0.isRetryable && $0.retryAfter == nil }.map { fault in
    Test("\(fault.name), once: the next attempt succeeds within the caller's patience") { lane in
        try await fault.start(at: lane, count: 1)
        let client = try lane.client("phoenix-wallet") { $0.requestTimeout = .seconds(2) }
        let token = try await within(.seconds(40)) { try await client.token() }
        try equal(token.tokenType, "Bearer")
        try equal(try await lane.tokenRequests(), 2)
        try await lane.release()
        await client.close()
    }
}

private let others: [Test] =
    [
        ("expires_in as a string", #"{"expires_in": "3600"}"#),
        ("expires_in as 1e3", #"{"expires_in": 1e3}"#),
        ("no expires_in", #"{"omit_expires_in": true}"#),
        ("a Date 10 minutes ahead", #"{"date_skew_s": 600}"#),
        ("a Date 10 minutes behind", #"{"date_skew_s": -600}"#),
        ("an access token of 16 KB", #"{"token_bytes": 16000}"#),
    ].map { name, settings in
        Test("\(name): the token is kept") { lane in
            try await lane.settings(object(Data(settings.utf8)))
            let client = try lane.client("phoenix-wallet")
            _ = try await client.token()
            _ = try await client.token()
            let left = try require(client.peek(), "the cached token").expiresIn()
            try expect(left > .seconds(800), "\(left) left")
            try equal(try await lane.tokenRequests(), 1)
        }
    } + [
        Test("an authority that comes back is found again") { lane in
            try await lane.fault(["status": 503, "count": 2])
            let client = try lane.client("phoenix-wallet")
            try equal(try await within(.seconds(40)) { try await client.token().generation }, 1)
            try equal(try await lane.tokenRequests(), 3)
        },

        Test("nothing listens: the caller is told so, and no error holds the request") { lane in
            let client = try lane.client("phoenix-wallet") {
                $0.variables["token_endpoint"] = "http://127.0.0.1:9/token"
            }
            let error = try await within(.seconds(20)) {
                try await refusal("transport_failed") { try await client.token(timeout: .seconds(1)) }
            }
            try equal(error.family, .transport)
            let cause = try require(error.underlyingError, "the transport's own error")
            for secret in secrets {
                try expect(!everythingShown(of: (error, cause)).contains(secret), everythingShown(of: (error, cause)))
            }
        },

        Test("a lifetime of one second costs no token request per call") { lane in
            try await lane.settings(["lifetime_s": 1])
            let client = try lane.client("phoenix-wallet")
            let end = ContinuousClock.now + .seconds(3)
            var calls = 0
            while ContinuousClock.now < end {
                try expect(try await client.token().expiresIn() > .zero, "an expired token")
                calls += 1
                try await Task.sleep(for: .milliseconds(2))
            }
            let requests = try await lane.tokenRequests()
            try expect(requests <= 8, "\(requests) requests for \(calls) calls in 3 s")
        },

        Test("an answer that was lost after a rotation costs one more attempt, not the user's consent") { lane in
            try await lane.settings(["reuse_grace_s": 60])
            let refreshToken = try await lane.mint(subject: "dave")
            try await lane.fault(["grant": "refresh_token", "cut": "after_processing"])
            let saved = Collected<String>()
            let dave = try lane.client("rapidomize").withSubject("dave", refreshToken: refreshToken) { saved.add($0) }
            try equal(try await within(.seconds(40)) { try await dave.token().tokenType }, "Bearer")
            try equal(saved.all.count, 1)
        },

        Test("an answer that was lost after a rotation, without grace: authorize again, and the error says why") {
            lane in
            let refreshToken = try await lane.mint(subject: "erin")
            try await lane.fault(["grant": "refresh_token", "cut": "after_processing"])
            let erin = try lane.client("rapidomize").withSubject("erin", refreshToken: refreshToken)
            let error = try await within(.seconds(40)) {
                try await refusal("reauthorization_required") { try await erin.token() }
            }
            try expect(error.isAmbiguous, "\(error)")
            try expect(!everythingShown(of: error).contains(refreshToken), "the error shows the refresh token")
        },

        Test("a transport of the user's throws an error of its own: the request may have left, and is repeated") {
            lane in
            struct Broken: Error {}
            let calls = Collected<Bool>()
            let client = try lane.client("phoenix-wallet") {
                $0.transport = { _ in
                    calls.add(true)
                    throw Broken()
                }
            }
            let error = try await refusal("transport_failed") { try await client.token(timeout: .seconds(5)) }
            try expect(error.isRetryable && error.underlyingError is Broken, everythingShown(of: error))
            try equal(calls.all.count, 3, "attempts:")
        },

        Test("a transport of the user's that hangs, deaf to cancellation, holds nobody") { lane in
            let client = try lane.client("phoenix-wallet") {
                $0.requestTimeout = .milliseconds(300)
                $0.policy["attempts"] = 1
                $0.transport = { _ in
                    await Task.detached { try? await Task.sleep(for: .seconds(8)) }.value
                    return HTTPResponse(status: 500)
                }
            }
            try await within(.seconds(6)) {
                try await refusal("timeout") { try await client.token() }
                await client.close()
            }
        },

        Test("a transport of the user's that answers nonsense makes typed errors, and never traps") { lane in
            let answers: [HTTPResponse] = [
                HTTPResponse(status: 0), HTTPResponse(status: -1), HTTPResponse(status: 70_000),
                HTTPResponse(status: .max),
                HTTPResponse(
                    status: 200, headers: [("", ""), ("a\r\nb", "c\0d"), (String(repeating: "x", count: 100_000), "ü")]),
                HTTPResponse(status: 200, body: Data(repeating: 0xff, count: 1000)),
                HTTPResponse(status: 200, body: Data(repeating: 0x5b, count: 200_000)),
                HTTPResponse(status: 200, body: Data(repeating: 0x20, count: 2_000_000)),
            ]
            for answer in answers {
                let client = try lane.client("phoenix-wallet") {
                    $0.policy["attempts"] = 1
                    $0.transport = { _ in answer }
                }
                let error = try await within(.seconds(20)) {
                    try await refusal { try await client.token(timeout: .seconds(2)) }
                }
                let codes = ["unexpected_answer", "answer_too_large", "transport_failed", "host_error"]
                try expect(codes.contains(error.code), "\(answer): \(error)")
            }
        },

        Test("a function for the secret that throws is a host's error, with its cause") { lane in
            struct Sealed: Error {}
            var configuration = Configuration()
            configuration.allowLoopbackHTTP = true
            configuration.policy["attempts"] = 1
            configuration.variables["token_endpoint"] = lane.url("phoenix-wallet/oauth/token")
            let client = try Client("phoenix-wallet", clientID: Authority.clientID, configuration: configuration) {
                throw Sealed()
            }
            let error = try await refusal("host_error") { try await client.token(timeout: .seconds(2)) }
            try expect(error.underlyingError is Sealed, everythingShown(of: error))
            try equal(try await lane.tokenRequests(), 0)
        },

        Test("a wrong secret is told once, with what to do, and isn't tried again at once") { lane in
            let client = try lane.client("phoenix-wallet", secret: "\(Authority.secret)?")
            for _ in 0..<20 { try await refusal("invalid_client") { try await client.token() } }
            try equal(try await lane.tokenRequests(), 1)
        },
    ] + ends

/// How a client ends.
private let ends: [Test] = [
    Test("close waits for what is in the air, whose callers are served; later ones are refused") { lane in
        try await lane.fault(["hold": true])
        let client = try lane.client("phoenix-wallet")
        let caller = Task { try await client.token().generation }
        try await until(.seconds(10)) { try await lane.counter("token", "running") == 1 }
        let isClosed = Once()
        let closing = Task {
            await client.close()
            _ = isClosed.first()
        }
        try await until(.seconds(10)) {
            do {
                _ = try await client.token(timeout: .zero)
                return false
            } catch let error as RemintError { return error.code == "closed" }
        }
        try expect(isClosed.first(), "close returned before the request had ended")
        try await lane.release()
        try await within(.seconds(20)) { await closing.value }
        try equal(try await lane.counter("token", "by_status", "200"), 1)
        // The flight ended well, and was this caller's before the end.
        let result = await caller.result
        if case .failure(let error) = result { try equal((error as? RemintError)?.code, "closed", "\(error):") }
        let error = try await refusal("closed") { try await client.token() }
        try equal(error.family, .usage)
        try expect(client.peek() == nil, "a closed client has a token")
        try await refusal("closed") { try await client.headers(method: "GET", url: lane.api("phoenix-wallet", "v1/x")) }
        try await refusal("closed") { try client.withSubject("x", refreshToken: "y") }
        try await refusal("closed") { try await client.authorizationURL(redirectURI: "https://app.example/cb") }
        await client.invalidate()
        await client.close()
    },

    Test("close ends a pause before the next attempt, and whoever waits for it") { lane in
        try await lane.fault(["status": 503, "retry_after": "20", "count": NSNull()])
        let client = try lane.client("phoenix-wallet")
        let caller = Task { try await client.token(timeout: .seconds(60)) }
        try await until(.seconds(10)) { try await lane.tokenRequests() == 1 }
        try await within(.seconds(10)) {
            await client.close()
            try await refusal("closed") { try await caller.value }
        }
    },

    Test("a rotation in the air runs through its save when the client is closed") { lane in
        let refreshToken = try await lane.mint(subject: "bob")
        try await lane.fault(["hold": true, "grant": "refresh_token"])
        let saved = Collected<String>()
        let client = try lane.client("rapidomize")
        let bob = try client.withSubject("bob", refreshToken: refreshToken) { saved.add($0) }
        let caller = Task { try await bob.token() }
        try await until(.seconds(10)) { try await lane.counter("token", "running") == 1 }
        let closing = Task { await client.close() }
        try await lane.release()
        try await within(.seconds(20)) { await closing.value }
        _ = await caller.result
        try equal(saved.all.count, 1, "refresh tokens saved:")
        let again = try lane.client("rapidomize").withSubject("bob", refreshToken: saved.all[0])
        try equal(try await again.token().tokenType, "Bearer")
    },

    Test("a client that is let go without close leaves nothing behind") { lane in
        weak var left: Client?
        do {
            let client = try lane.client("phoenix-wallet")
            left = client
            _ = try await client.token()
            _ = client.withScope(["ledger:read"])
        }
        try await until(.seconds(10)) { left == nil }
    },
]
