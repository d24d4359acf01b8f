import XCTest

import struct RemintCore.ClientInformation

@testable import Remint

/// A client that registers itself (RFC 7591), and is looked after (RFC 7592).
final class RegistrarTests: XCTestCase {
    private static let base = "https://auth.example.com"
    private static let known = profile(
        #""token":{"endpoint":"\#(base)/token"},"endpoints":{"registration":"\#(base)/register"}"#)
    private static let given = """
        "client_id":"c1","client_secret":"canary-secret","client_id_issued_at":1700000000,"client_secret_expires_at":0,\
        "registration_access_token":"canary-access","registration_client_uri":"\(base)/clients/c1"
        """

    private static func profile(_ members: String) -> String {
        #"{"name":"s","title":"S","grants":["client_credentials"],\#(members)}"#
    }

    private func registrar(
        _ transport: @escaping Transport, _ profile: String = known, _ change: (inout Configuration) -> Void = { _ in }
    ) throws -> Registrar {
        var configuration = Configuration()
        configuration.transport = transport
        change(&configuration)
        return try Registrar(profile, configuration: configuration)
    }

    func testAClientRegistersItselfAndIsReadReplacedAndDeleted() async throws {
        let server = FakeServer { request, number in
            switch number {
            case 1: FakeServer.json(201, #"{\#(Self.given),"client_name":"Zürich"}"#)
            case 2: FakeServer.json(200, #"{\#(Self.given),"client_name":"Zürich"}"#)
            case 3: FakeServer.json(200, #"{\#(Self.given),"client_name":"Other"}"#)
            default: HTTPResponse(status: 204)
            }
        }
        let registrar = try registrar(server.transport)
        let metadata = #"{"client_name":"Zürich","grant_types":["client_credentials"]}"#
        let registered = try await registrar.register(
            .register(metadata: metadata, initialAccessToken: "canary-initial"))
        let client = try XCTUnwrap(registered)
        XCTAssertEqual([client.clientID, client.clientSecret], ["c1", "canary-secret"])
        XCTAssertEqual(client.registrationAccessToken, "canary-access")
        XCTAssertEqual(client.registrationClientURI, "\(Self.base)/clients/c1")
        XCTAssertEqual(client.clientIDIssuedAt, Date(timeIntervalSince1970: 1_700_000_000))
        XCTAssertNil(client.clientSecretExpiresAt)
        XCTAssertEqual(client.metadata as? [String: String], ["client_name": "Zürich"])
        let read = try await registrar.register(.read(client))
        XCTAssertEqual(read?.clientID, "c1")
        let other = try await registrar.register(.update(client, metadata: #"{"client_name":"Other"}"#))
        XCTAssertEqual(other?.metadata["client_name"] as? String, "Other")
        let deleted = try await registrar.register(.delete(client))
        XCTAssertNil(deleted)

        let sent = server.received
        XCTAssertEqual(
            sent.map { "\($0.method) \($0.url.path)" },
            ["POST /register", "GET /clients/c1", "PUT /clients/c1", "DELETE /clients/c1"])
        XCTAssertEqual(
            sent.map { $0.header("authorization") },
            ["Bearer canary-initial", "Bearer canary-access", "Bearer canary-access", "Bearer canary-access"])
        XCTAssertEqual(sent[0].body, Data(metadata.utf8))
        XCTAssertEqual(
            sent[2].body,
            Data(#"{"client_name":"Other","client_id":"c1","client_secret":"canary-secret"}"#.utf8))
        XCTAssertTrue(sent.allSatisfy { $0.timeout == .seconds(10) && $0.cap == 262_144 })
    }

    func testWhereTheEndpointIsInTheMetadataThatIsReadFirst() async throws {
        let server = FakeServer { request, _ in
            if request.method == "POST" { return FakeServer.json(201, "{\(Self.given)}") }
            guard request.url.path.hasSuffix("openid-configuration") else { return FakeServer.json(404, "{}") }
            return FakeServer.json(
                200,
                #"{"issuer":"\#(Self.base)","token_endpoint":"\#(Self.base)/t","registration_endpoint":"\#(Self.base)/r"}"#
            )
        }
        let discovered = Self.profile(#""token":{},"discovery":{"issuer":"\#(Self.base)"}"#)
        let registrar = try registrar(server.transport, discovered) {
            $0.requestTimeout = .seconds(3)
            $0.policy = ["answer_cap": 4096]
        }
        let client = try await registrar.register(.register(metadata: "{}"))
        XCTAssertEqual(client?.clientID, "c1")
        XCTAssertEqual(
            server.received.map(\.url.path),
            ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/r"])
        XCTAssertTrue(server.received.allSatisfy { $0.timeout == .seconds(3) && $0.cap == 4096 })
    }

    func testWhatTheServerRefusesAndWhatDoesNotArriveIsATypedErrorWithoutASecret() async throws {
        let refused = #"{"error":"invalid_client_metadata","error_description":"canary"}"#
        let cases: [(@Sendable () throws -> HTTPResponse, String, RemintError.Family, Bool)] = [
            ({ FakeServer.json(400, refused) }, "invalid_client_metadata", .server, false),
            ({ FakeServer.json(401, "canary") }, "invalid_client", .server, false),
            ({ FakeServer.json(503, "canary") }, "server_unavailable", .server, true),
            ({ FakeServer.json(201, String(repeating: " ", count: 300_000)) }, "answer_too_large", .transport, false),
            ({ throw TransportFailure(.notSent) }, "transport_failed", .transport, true),
            ({ throw TransportFailure(.maybeSent) }, "transport_failed", .transport, false),
            ({ throw TransportFailure(.timeout) }, "timeout", .transport, false),
            ({ throw CancellationError() }, "transport_failed", .transport, false),
        ]
        for (answer, code, family, isRetryable) in cases {
            let registrar = try registrar({ _ in try answer() })
            do {
                _ = try await registrar.register(.register(metadata: #"{"a":"canary"}"#, initialAccessToken: "canary"))
                XCTFail("\(code) was expected")
            } catch let error as RemintError {
                XCTAssertEqual(error.code, code)
                XCTAssertEqual(error.family, family)
                XCTAssertEqual(error.isRetryable, isRetryable)
                var dumped = ""
                dump(error, to: &dumped)
                XCTAssertFalse("\(error) \(dumped)".contains("canary"))
                XCTAssertFalse(error.message.contains("initial_access_token"), error.message)
            }
        }
    }

    func testNobodyWaitsLongerThanTheRequestMayTake() async throws {
        let clock = ManualClock()
        let gate = Gate()
        // It goes on whatever becomes of its task.
        let deaf: Transport = { _ in
            await gate.pass()
            return FakeServer.json(201, "{\(Self.given)}")
        }
        let registrar = try registrar(deaf) {
            $0.clock = clock
            $0.requestTimeout = .seconds(4)
        }
        let waiting = Task { try await registrar.register(.register(metadata: "{}")) }
        let slept = await until { clock.advanceOnceSomebodySleeps(seconds: 4) }
        XCTAssertTrue(slept)
        let outcome = await waiting.result
        XCTAssertThrowsError(try outcome.get()) { XCTAssertEqual(($0 as? RemintError)?.code, "timeout") }
        gate.open()
    }

    func testATaskThatIsCancelledTakesTheRequestAlong() async throws {
        let (asked, dropped) = (Guarded(false), Guarded(false))
        let registrar = try registrar({ _ in
            asked.withLock { $0 = true }
            defer { dropped.withLock { $0 = Task.isCancelled } }
            try await Task.sleep(for: .seconds(60))
            return HTTPResponse(status: 204)
        })
        let waiting = Task { try await registrar.register(.register(metadata: "{}")) }
        let isAsked = await until { asked.withLock { $0 } }
        XCTAssertTrue(isAsked)
        waiting.cancel()
        let outcome = await waiting.result
        XCTAssertThrowsError(try outcome.get()) { XCTAssertTrue($0 is CancellationError, "\($0)") }
        let isDropped = await until { dropped.withLock { $0 } }
        XCTAssertTrue(isDropped)
    }

    func testWhatIsWrongIsSaidBeforeAnythingIsSent() async throws {
        let server = FakeServer()
        let bare = RegisteredClient(
            ClientInformation(
                clientId: "c1", clientSecret: nil, clientIdIssuedAt: nil, clientSecretExpiresAt: nil,
                registrationAccessToken: nil, registrationClientUri: nil, metadata: "{}"))
        let registrar = try registrar(server.transport)
        let requests: [() throws -> RegistrationRequest] = [
            { .register(metadata: "[]") },
            { .register(metadata: "{}", initialAccessToken: "line\nbreak") },
            { .register(metadata: #"{"client_id":"mine"}"#) },
            { .update(registrationClientURI: "\(Self.base)/c", registrationAccessToken: "t", metadata: "{}") },
            { try .read(bare) },
        ]
        for request in requests {
            do {
                _ = try await registrar.register(request())
                XCTFail("nothing was wrong")
            } catch let error as RemintError {
                XCTAssertEqual(error.code, "invalid_option")
            }
        }
        let changes: [(inout Configuration) -> Void] = [
            { $0.requestTimeout = .zero }, { $0.backgroundRefresh = false }, { $0.apiToken = "t0ken" },
            { $0.grant = "device_code" },
            { $0.variables = ["nobody_knows": "it"] },
        ]
        for change in changes {
            XCTAssertThrowsError(try self.registrar(server.transport, Self.known, change)) {
                XCTAssertEqual(($0 as? RemintError)?.code, "invalid_option")
            }
        }
        XCTAssertEqual(server.received.count, 0)
    }
}
