import XCTest

@testable import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

final class ClientTests: XCTestCase {
    func testACachedTokenIsAnsweredWithoutTheCore() async throws {
        let server = FakeServer()
        let draws = Guarded(0)
        // The core wants fresh entropy with every event.
        let client = try wallet(server) { configuration in
            configuration.random = { count in
                draws.withLock { $0 += 1 }
                return Data(repeating: 7, count: count)
            }
        }
        let token = try await client.token()
        _ = try await client.token()
        let before = draws.withLock { $0 }
        for _ in 0..<100 {
            let again = try await client.token()
            XCTAssertEqual(again.accessToken, token.accessToken)
            XCTAssertEqual(client.peek()?.generation, 1)
        }
        XCTAssertEqual(draws.withLock { $0 }, before)
        XCTAssertEqual(server.received.count, 1)
    }

    func testATokenHasItsParts() async throws {
        let clock = ManualClock()
        let server = FakeServer { _, _ in FakeServer.token("T", more: ["scope": "wallets:read"], expiresIn: 60) }
        let client = try wallet(server) { $0.clock = clock }
        XCTAssertNil(client.peek())
        let token = try await client.token()
        XCTAssertEqual(token.accessToken, "T")
        XCTAssertEqual(token.tokenType, "Bearer")
        XCTAssertEqual(token.authorization, "Bearer T")
        XCTAssertEqual(token.scope, "wallets:read")
        XCTAssertEqual(token.expiresAt, Date(timeIntervalSince1970: 1_700_000_060))
        clock.advance(seconds: 10)
        XCTAssertEqual(token.expiresIn(), .seconds(50))
        clock.advance(seconds: 100)
        XCTAssertEqual(token.expiresIn(), .zero)
        XCTAssertNil(client.peek())
    }

    func testAThousandTasksMakeOneRequest() async throws {
        let gate = Gate()
        let server = FakeServer { _, number in
            await gate.pass()
            return FakeServer.token("T\(number)")
        }
        let joined = Guarded(0)
        let client = try wallet(server) {
            $0.onNotice = { notice in if notice.name == "joined" { joined.withLock { $0 += 1 } } }
        }
        let tokens = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<1000 { group.addTask { try await client.token().accessToken } }
            let isCrowded = await until { joined.withLock { $0 } == 999 }
            XCTAssertTrue(isCrowded)
            gate.open()
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        XCTAssertEqual(tokens, ["T1"])
        XCTAssertEqual(server.received.count, 1)
    }

    func testACancelledCallerEndsAloneAndAtOnce() async throws {
        let gate = Gate()
        let server = FakeServer { _, _ in
            await gate.pass()
            return FakeServer.token("T")
        }
        let client = try wallet(server)
        let impatient = Task { try await client.token() }
        let patient = Task { try await client.token() }
        let isSent = await until { server.received.count == 1 }
        XCTAssertTrue(isSent)
        impatient.cancel()
        let outcome = await impatient.result
        XCTAssertThrowsError(try outcome.get()) { XCTAssertTrue($0 is CancellationError) }
        gate.open()
        let token = try await patient.value
        XCTAssertEqual(token.accessToken, "T")
        XCTAssertEqual(server.received.count, 1)
    }

    func testATaskThatIsCancelledAlreadySendsNothing() async throws {
        let server = FakeServer()
        let client = try wallet(server)
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await client.token()
        }
        let outcome = await task.result
        XCTAssertThrowsError(try outcome.get()) { XCTAssertTrue($0 is CancellationError) }
        XCTAssertTrue(server.received.isEmpty)
    }

    func testARenewalRunsAsideWhileTheOldTokenIsServed() async throws {
        let clock = ManualClock()
        let gate = Gate()
        let server = FakeServer { _, number in
            if number == 2 { await gate.pass() }
            return FakeServer.token("T\(number)")
        }
        let client = try wallet(server) { $0.clock = clock }
        _ = try await client.token()
        clock.advance(seconds: 3400)
        for _ in 0..<10 {
            let token = try await client.token()
            XCTAssertEqual(token.accessToken, "T1")
        }
        gate.open()
        let isRenewed = await until { client.peek() == nil }
        XCTAssertTrue(isRenewed)
        let token = try await client.token()
        XCTAssertEqual(token.accessToken, "T2")
        XCTAssertEqual(server.received.count, 2)
    }

    func testAnOutageFailsWithWhatTheHostSaidAndIsRetried() async throws {
        struct Outage: Error {}
        let server = FakeServer { _, number in
            if number <= 3 { throw TransportFailure(.notSent, underlyingError: Outage()) }
            return FakeServer.token("T\(number)")
        }
        let clock = ManualClock()
        let client = try wallet(server) { $0.clock = clock }
        let waiting = Task { try await client.token() }
        for attempt in 1...3 {
            let isSent = await until {
                clock.advance(seconds: 1)
                return server.received.count >= attempt
            }
            XCTAssertTrue(isSent)
        }
        let outcome = await waiting.result
        XCTAssertThrowsError(try outcome.get()) { error in
            let error = error as? RemintError
            XCTAssertEqual(error?.code, "transport_failed")
            XCTAssertEqual(error?.family, .transport)
            XCTAssertEqual(error?.isRetryable, true)
            XCTAssertNotNil(error?.retryAfter)
            XCTAssertTrue((error?.underlyingError as? TransportFailure)?.underlyingError is Outage)
            XCTAssertFalse("\(String(reflecting: error))".contains("Outage()"))
        }
        clock.advance(seconds: 60)
        let token = try await client.token()
        XCTAssertEqual(token.accessToken, "T4")
    }

    func testACallersTimeIsItsOwn() async throws {
        let clock = ManualClock()
        let gate = Gate()
        let server = FakeServer { _, _ in
            await gate.pass()
            return FakeServer.token("T")
        }
        let client = try wallet(server) { $0.clock = clock }
        let hasty = Task { try await client.token(timeout: .seconds(2)) }
        let isSent = await until { server.received.count == 1 }
        XCTAssertTrue(isSent)
        let isOver = Guarded(false)
        let watch = Task {
            defer { isOver.withLock { $0 = true } }
            return try await hasty.value
        }
        let ended = await until {
            clock.advance(seconds: 0.1)
            return isOver.withLock { $0 }
        }
        XCTAssertTrue(ended)
        let outcome = await watch.result
        XCTAssertThrowsError(try outcome.get()) { XCTAssertEqual(($0 as? RemintError)?.code, "timeout") }
        gate.open()
        await client.close()
    }

    func testASecretFunctionIsCalledForEachRequest() async throws {
        struct Locked: Error {}
        let server = FakeServer()
        let calls = Guarded(0)
        var configuration = Configuration()
        configuration.variables = ["token_endpoint": "https://login.example/token", "base_url": "https://api.example"]
        configuration.transport = server.transport
        configuration.policy = longPauses
        let client = try Client("phoenix-wallet", clientID: "me", configuration: configuration) {
            let call = calls.withLock { calls in
                calls += 1
                return calls
            }
            if call >= 3 { throw Locked() }
            return "secret-\(call)"
        }
        _ = try await client.token()
        await client.invalidate()
        _ = try await client.token()
        XCTAssertEqual(server.received.map { $0.form["client_secret"] }, ["secret-1", "secret-2"])
        await client.invalidate()
        do {
            _ = try await client.token(timeout: .seconds(4))
            XCTFail("there is no secret")
        } catch let error as RemintError {
            XCTAssertEqual(error.code, "host_error")
            XCTAssertTrue(error.underlyingError is Locked)
        }
    }

    func testTheCodeFlowAwaitsWhoSavesTheRefreshToken() async throws {
        let server = FakeServer { request, number in
            FakeServer.token("T\(number)", more: ["refresh_token": "R\(number)"])
        }
        let client = try codeFlow(server)
        let authorization = try await client.authorizationURL(parameters: ["prompt": "login"])
        let items = URLComponents(url: authorization.url, resolvingAgainstBaseURL: false)?.queryItems ?? []
        let query = Dictionary(items.map { ($0.name, $0.value ?? "") }, uniquingKeysWith: { $1 })
        XCTAssertEqual(query["code_challenge_method"], "S256")
        XCTAssertEqual(query["prompt"], "login")

        let saved = Guarded<[String]>([])
        let callback = [
            URLQueryItem(name: "code", value: "c+d/ &="), URLQueryItem(name: "state", value: query["state"]),
        ]
        let token = try await client.exchange(callback: callback, session: authorization.session, subject: "ann") {
            refreshToken in
            try await Task.sleep(for: .milliseconds(20))
            saved.withLock { $0.append(refreshToken) }
        }
        XCTAssertEqual(saved.withLock { $0 }, ["R1"])
        XCTAssertEqual(token.accessToken, "T1")
        XCTAssertEqual(server.received.first?.form["code"], "c+d/ &=")
        XCTAssertNotNil(server.received.first?.form["code_verifier"])

        let ann = try client.withSubject("ann")
        let same = try await ann.token()
        XCTAssertEqual(same.accessToken, "T1")
        await ann.invalidate()
        let next = try await ann.token()
        XCTAssertEqual(next.accessToken, "T2")
        XCTAssertEqual(server.received.last?.form["refresh_token"], "R1")
        XCTAssertEqual(saved.withLock { $0 }, ["R1", "R2"])
    }

    func testAnotherStateIsRefused() async throws {
        let client = try codeFlow(FakeServer())
        let authorization = try await client.authorizationURL()
        do {
            let callback = URL(string: "https://app.example/callback?code=c&state=forged")
            _ = try await client.exchange(callback: XCTUnwrap(callback), session: authorization.session)
            XCTFail("the state is forged")
        } catch let error as RemintError {
            XCTAssertEqual(error.code, "state_mismatch")
        }
    }

    func testARefreshTokenOfYourDatabaseIsUsed() async throws {
        let server = FakeServer { _, number in FakeServer.token("T\(number)", more: ["refresh_token": "R\(number)"]) }
        let saved = Guarded<[String]>([])
        let bob = try codeFlow(server).withSubject("bob", refreshToken: "R0") { token in
            saved.withLock { $0.append(token) }
        }
        let token = try await bob.token()
        XCTAssertEqual(token.accessToken, "T1")
        XCTAssertEqual(server.received.first?.form["refresh_token"], "R0")
        XCTAssertEqual(saved.withLock { $0 }, ["R1"])
    }

    func testAScopeSetHasATokenOfItsOwn() async throws {
        let server = FakeServer()
        let client = try wallet(server)
        let policies = client.withScope(["policies:read"])
        let first = try await client.token()
        let second = try await policies.token()
        XCTAssertNotEqual(first.accessToken, second.accessToken)
        XCTAssertEqual(server.received.map { $0.form["scope"] }, ["wallets:read", "policies:read"])
    }

    func testAClosedClientSaysSo() async throws {
        let client = try wallet(FakeServer())
        _ = try await client.token()
        await client.close()
        await client.close()
        XCTAssertNil(client.peek())
        let url = try XCTUnwrap(URL(string: "https://api.example/v1"))
        for verb: @Sendable () async throws -> Void in [
            { _ = try await client.token() },
            { _ = try await client.headers(method: "GET", url: url) },
            { _ = try await client.data(for: URLRequest(url: url)) },
            { _ = try await client.authorizationURL(redirectURI: "https://app.example") },
            { _ = try client.withSubject("ann", refreshToken: "R") },
        ] {
            do {
                try await verb()
                XCTFail("it is closed")
            } catch let error as RemintError {
                XCTAssertEqual(error.code, "closed")
            }
        }
    }

    func testNothingOutOfRangeEndsTheProcess() async throws {
        let client = try wallet(FakeServer())
        let longest = Duration(secondsComponent: .max, attosecondsComponent: 0)
        let shortest = Duration(secondsComponent: .min, attosecondsComponent: 0)
        _ = try await client.token(timeout: longest)
        for body: @Sendable () async throws -> Token in [
            { try await client.token(minTTL: shortest) },
            { try await client.token(force: true, timeout: .milliseconds(-1)) },
        ] {
            do {
                _ = try await body()
                XCTFail("it is negative")
            } catch let error as RemintError {
                XCTAssertEqual(error.code, "invalid_option")
            }
        }
        do {
            _ = try await client.token(minTTL: longest)
            XCTFail("no token lives that long")
        } catch let error as RemintError {
            XCTAssertEqual(error.code, "min_ttl_unavailable")
            XCTAssertNotNil(error.lifetime)
        }
        for change: (inout Configuration) -> Void in [
            { $0.requestTimeout = longest }, { $0.requestTimeout = shortest }, { $0.requestTimeout = .zero },
            { $0.policy = ["soft_margin": .number(.nan)] }, { $0.policy = ["soft_margin": .number(.infinity)] },
            { $0.policy = ["soft": 1] },
            { $0.policy = ["soft_margin": "long"] }, { $0.parameters = ["grant_type": "x"] },
            { $0.variables["nonsense"] = "x" },
            { $0.apiOrigins = ["\u{0}"] }, { $0.urlSession = .ephemeral },
        ] {
            XCTAssertThrowsError(try wallet(FakeServer(), change)) {
                XCTAssertEqual(($0 as? RemintError)?.code, "invalid_option", "\($0)")
            }
        }
        XCTAssertThrowsError(try Client("", clientID: "\u{0}")) { XCTAssertTrue($0 is RemintError) }
        XCTAssertThrowsError(try Client("{", clientID: "x")) {
            XCTAssertEqual(($0 as? RemintError)?.code, "invalid_profile")
        }
    }

    func testAnOptionHasItsSwiftNameInAnError() {
        XCTAssertThrowsError(try wallet(FakeServer()) { $0.clientAuth = "nonsense" }) { error in
            XCTAssertTrue(error.localizedDescription.contains("`clientAuth`"), "\(error)")
        }
    }

    func testEntropyOfTheWrongSizeIsAnError() async throws {
        let client = try wallet(FakeServer()) { $0.random = { _ in Data() } }
        do {
            _ = try await client.token()
            XCTFail("there is no entropy")
        } catch let error as RemintError {
            XCTAssertEqual(error.code, "invalid_event")
        }
    }

    func testANonsensicalStatusIsNoAnswer() async throws {
        let client = try wallet(FakeServer { _, _ in HTTPResponse(status: .max) }) { $0.policy = longPauses }
        do {
            _ = try await client.token(timeout: .seconds(4))
            XCTFail("that is no status")
        } catch let error as RemintError {
            XCTAssertEqual(error.code, "host_error")
        }
    }

    func testAClientThatIsLetGoLeavesNothingBehind() async throws {
        weak var driver: Driver?
        do {
            let client = try wallet(FakeServer())
            _ = try await client.token()
            driver = client.driver
        }
        let isGone = await until { driver == nil }
        XCTAssertTrue(isGone)
    }
}
