import XCTest

@testable import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Flows with a person in them, and questions to the server.
final class FlowTests: XCTestCase {
    private static let code = FakeServer.json(
        200,
        #"{"device_code":"d3vice","user_code":"WDJB-MJHT","verification_uri":"https://login.example/go","verification_uri_complete":"https://login.example/go?c=WDJB-MJHT","expires_in":600,"interval":5}"#
    )

    private static func device(_ polls: @escaping @Sendable (Int) -> HTTPResponse) -> FakeServer {
        let asked = Guarded(0)
        return FakeServer { request, _ in
            guard request.url.path == "/token" else { return code }
            return polls(
                asked.withLock { count in
                    count += 1
                    return count
                })
        }
    }

    private func printed(_ value: Any) -> String {
        var dumped = ""
        dump(value, to: &dumped)
        return "\(value) \(String(reflecting: value)) \(dumped)"
    }

    func testADeviceIsAuthorizedWhenThePersonHasAnswered() async throws {
        let server = FlowTests.device { number in
            switch number {
            case 1: FakeServer.json(400, #"{"error":"authorization_pending"}"#)
            case 2: FakeServer.json(400, #"{"error":"slow_down"}"#)
            default: FakeServer.token("T", more: ["refresh_token": "r3fresh"])
            }
        }
        let clock = ManualClock()
        let saved = Guarded<[String]>([])
        let client = try acme(server, grant: "device_code") { $0.clock = clock }
        let device = try await client.deviceAuthorization(scope: ["orders:read"])
        XCTAssertEqual(device.userCode, "WDJB-MJHT")
        XCTAssertEqual(device.verificationURI, "https://login.example/go")
        XCTAssertEqual(device.qrText, device.verificationURIComplete)
        XCTAssertEqual(device.expiresIn, .seconds(600))
        XCTAssertEqual(device.interval, .seconds(5))
        XCTAssertEqual(server.received[0].form["scope"], "orders:read")
        XCTAssertTrue(printed(device).contains("WDJB-MJHT"))
        XCTAssertFalse(printed(device).contains(device.session) || printed(device).contains("d3vice"))

        let polling = Task {
            try await client.poll(session: device.session, subject: "ada") { token in
                saved.withLock { $0.append(token) }
            }
        }
        // Five seconds before each poll, and five more after `slow_down`.
        for (pause, polls) in [(5.0, 1), (5, 2), (10, 3)] {
            let isDue = await until { clock.advanceOnceSomebodySleeps(seconds: pause) }
            XCTAssertTrue(isDue)
            let isAsked = await until { server.received.count == 1 + polls }
            XCTAssertTrue(isAsked)
        }
        let token = try await polling.value
        XCTAssertEqual(token.accessToken, "T")
        XCTAssertEqual(saved.withLock { $0 }, ["r3fresh"])
        XCTAssertEqual(server.received.last?.form["device_code"], "d3vice")
        let mine = try await client.withSubject("ada").token()
        XCTAssertEqual(mine.accessToken, "T")
        await client.close()
    }

    func testACallerWhoIsCancelledEndsTheAsking() async throws {
        let server = FlowTests.device { _ in FakeServer.json(400, #"{"error":"authorization_pending"}"#) }
        let clock = ManualClock()
        let client = try acme(server, grant: "device_code") { $0.clock = clock }
        let device = try await client.deviceAuthorization()
        let polling = Task { try await client.poll(session: device.session, subject: "ada") }
        let isDue = await until { clock.advanceOnceSomebodySleeps(seconds: 5) }
        XCTAssertTrue(isDue)
        let isAsked = await until { server.received.count == 2 }
        XCTAssertTrue(isAsked)
        polling.cancel()
        let result = await polling.result
        XCTAssertThrowsError(try result.get()) { XCTAssertTrue($0 is CancellationError, "\($0)") }
        clock.advance(seconds: 60)
        try await Task.sleep(for: .milliseconds(50))
        XCTAssertEqual(server.received.count, 2)
        await client.close()
    }

    func testACallerWhoseTimeIsOverEndsTheAsking() async throws {
        let server = FlowTests.device { _ in FakeServer.json(400, #"{"error":"authorization_pending"}"#) }
        let clock = ManualClock()
        let client = try acme(server, grant: "device_code") { $0.clock = clock }
        let device = try await client.deviceAuthorization()
        let polling = Task { try await client.poll(session: device.session, timeout: .seconds(7)) }
        let isDue = await until { clock.advanceOnceSomebodySleeps(seconds: 5) }
        XCTAssertTrue(isDue)
        let isAsked = await until { server.received.count == 2 }
        XCTAssertTrue(isAsked)
        let isLate = await until { clock.advanceOnceSomebodySleeps(seconds: 2) }
        XCTAssertTrue(isLate)
        let error = await failure { try await polling.value }
        XCTAssertEqual(error?.code, "timeout")
        clock.advance(seconds: 60)
        try await Task.sleep(for: .milliseconds(50))
        XCTAssertEqual(server.received.count, 2)
        await client.close()
    }

    func testWhoRefusesAndWhoIsTooLateAreTypedErrors() async throws {
        for (answer, code) in [("access_denied", "access_denied"), ("expired_token", "authorization_expired")] {
            let server = FlowTests.device { _ in FakeServer.json(400, #"{"error":"\#(answer)"}"#) }
            let clock = ManualClock()
            let client = try acme(server, grant: "device_code") { $0.clock = clock }
            let device = try await client.deviceAuthorization()
            let polling = Task { try await client.poll(session: device.session) }
            let isDue = await until { clock.advanceOnceSomebodySleeps(seconds: 5) }
            XCTAssertTrue(isDue)
            let error = await failure { try await polling.value }
            XCTAssertEqual(error?.code, code)
            await client.close()
        }
    }

    func testAPersonIsAskedOnADeviceOfTheirOwn() async throws {
        let server = FakeServer { request, _ in
            request.url.path == "/bc"
                ? FakeServer.json(200, #"{"auth_req_id":"r3quest","expires_in":120,"interval":2}"#)
                : FakeServer.token("T")
        }
        let clock = ManualClock()
        let client = try acme(server, grant: "ciba") { $0.clock = clock }
        let asked = try await client.backchannelAuthentication(
            loginHint: "ada@example.com", bindingMessage: "W4SCT", requestedExpiry: .seconds(120), scope: ["openid"])
        XCTAssertEqual(asked.expiresIn, .seconds(120))
        XCTAssertFalse(printed(asked).contains(asked.session))
        let form = server.received[0].form
        XCTAssertEqual(form["login_hint"], "ada@example.com")
        XCTAssertEqual(form["binding_message"], "W4SCT")
        XCTAssertEqual(form["requested_expiry"], "120")
        let polling = Task { try await client.poll(session: asked.session, subject: "ada") }
        let isDue = await until { clock.advanceOnceSomebodySleeps(seconds: 2) }
        XCTAssertTrue(isDue)
        let token = try await polling.value
        XCTAssertEqual(token.accessToken, "T")
        XCTAssertEqual(server.received[1].form["auth_req_id"], "r3quest")
        let error = await failure { try await client.backchannelAuthentication(scope: ["openid"]) }
        XCTAssertEqual(error?.code, "invalid_option")
        await client.close()
    }

    func testAnAuthorizationRequestIsSentAhead() async throws {
        let server = FakeServer { _, _ in
            FakeServer.json(201, #"{"request_uri":"urn:ietf:params:oauth:request_uri:abc","expires_in":60}"#)
        }
        let client = try acme(server, grant: "authorization_code") {
            $0.pushedAuthorization = true
            $0.redirectURI = "https://app.example/callback"
        }
        let details = #"[{"type":"payment","amount":"12"}]"#
        let authorization = try await client.authorizationURL(scope: ["pay"], authorizationDetails: details)
        let query = URLComponents(url: authorization.url, resolvingAgainstBaseURL: false)?.queryItems ?? []
        XCTAssertEqual(query.map(\.name).sorted(), ["client_id", "request_uri"])
        XCTAssertEqual(server.received[0].url.path, "/par")
        XCTAssertEqual(server.received[0].form["authorization_details"], details)
        XCTAssertEqual(server.received[0].form["code_challenge_method"], "S256")
        await client.close()
    }

    func testATokenIsLookedUpAndForgotten() async throws {
        let server = FakeServer { request, number in
            switch request.url.path {
            case "/introspect":
                FakeServer.json(200, #"{"active":\#(request.form["token"] == "good"),"scope":"a b","exp":1700000600}"#)
            case "/revoke": HTTPResponse(status: 200)
            default: FakeServer.token("T\(number)")
            }
        }
        let client = try acme(server, grant: "client_credentials") { _ in }
        let good = try await client.introspect("good", hint: "access_token")
        XCTAssertTrue(good.isActive)
        XCTAssertEqual(good.claims["scope"] as? String, "a b")
        XCTAssertEqual(good.claims["exp"] as? Int, 1_700_000_600)
        XCTAssertFalse(printed(good).contains("a b"))
        XCTAssertEqual(server.received[0].form["token_type_hint"], "access_token")
        let bad = try await client.introspect("bad")
        XCTAssertFalse(bad.isActive)

        let token = try await client.token()
        try await client.revoke()
        XCTAssertEqual(server.received.last?.form["token"], token.accessToken)
        XCTAssertNil(client.peek())
        let other = try await client.token()
        XCTAssertNotEqual(other.accessToken, token.accessToken)
        try await client.revoke("something else", hint: "refresh_token")
        XCTAssertEqual(server.received.last?.form["token"], "something else")
        await client.close()
    }

    func testAQuestionThatFailsIsATypedError() async throws {
        let server = FakeServer { _, _ in FakeServer.json(401, #"{"error":"invalid_client"}"#) }
        let client = try acme(server, grant: "device_code") { _ in }
        let error = await failure { try await client.deviceAuthorization() }
        XCTAssertEqual(error?.code, "invalid_client")
        let polled = await failure { try await client.poll(session: "no session") }
        XCTAssertEqual(polled?.family, .usage)
        await client.close()
    }

    func testASignedAnswerIsCheckedByTheUsersFunction() async throws {
        let profile = """
            {"name": "signing", "title": "Signing", "grants": ["authorization_code"],
             "token": {"endpoint": "https://login.example/token", "client_auth": ["client_secret_basic"]},
             "authorization": {"endpoint": "https://login.example/authorize", "issuer": "https://login.example"},
             "endpoints": {"jwks": "https://login.example/jwks"}, "api_origins": ["https://api.example"]}
            """
        let x = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"
        let jwks =
            #"{"keys": [{"kty": "EC", "crv": "P-256", "x": "\#(x)", "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}]}"#
        let server = FakeServer { request, _ in
            request.url.path == "/jwks" ? FakeServer.json(200, jwks) : FakeServer.token("T1")
        }
        var configuration = Configuration()
        configuration.transport = server.transport
        configuration.responseMode = "jwt"
        configuration.redirectURI = "https://app.example/callback"
        XCTAssertThrowsError(
            try Client(profile, clientID: "me", clientSecret: clientSecret, configuration: configuration)
        ) {
            XCTAssertTrue($0.localizedDescription.contains("verifier"), $0.localizedDescription)
        }
        // Nobody here looks at curves: this is the server's signature.
        configuration.verifier = { signed in
            guard signed.algorithm == "ES256", signed.jwk.contains(x) else { throw URLError(.badServerResponse) }
            return signed.signature == Data(repeating: 7, count: 64)
        }
        let client = try Client(profile, clientID: "me", clientSecret: clientSecret, configuration: configuration)
        let begun = try await client.authorizationURL()
        let items = URLComponents(url: begun.url, resolvingAgainstBaseURL: false)?.queryItems ?? []
        let state = items.first { $0.name == "state" }?.value ?? ""
        let claims: [String: Any] = [
            "iss": "https://login.example", "aud": "me", "exp": Int(Date().timeIntervalSince1970) + 600, "code": "c0de",
            "state": state,
        ]
        let header = Data(#"{"alg":"ES256"}"#.utf8).base64URL
        let signed = try header + "." + JSONSerialization.data(withJSONObject: claims).base64URL
        let callback = { (signature: Data) in "https://app.example/callback?response=\(signed).\(signature.base64URL)" }
        do {
            _ = try await client.exchange(
                callback: callback(Data(repeating: 8, count: 64)), session: begun.session, subject: "ann")
            XCTFail("another's signature is good")
        } catch let error as RemintError {
            XCTAssertFalse("\(error) \(String(reflecting: error))".contains("c0de"))
        }
        XCTAssertFalse(server.received.contains { $0.url.path == "/token" })
        let token = try await client.exchange(
            callback: callback(Data(repeating: 7, count: 64)), session: begun.session, subject: "ann")
        XCTAssertEqual(token.accessToken, "T1")
        XCTAssertEqual(server.received.last?.form["code"], "c0de")
    }
}
