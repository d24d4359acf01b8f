import RemintCore
import XCTest

@testable import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

final class RedactionTests: XCTestCase {
    /// Whatever a program may print of a value.
    private func printed(_ value: Any) -> String {
        var dumped = ""
        dump(value, to: &dumped)
        let mirrored = Mirror(reflecting: value).children.map { "\($0)" }.joined()
        return "\(value) \(String(reflecting: value)) \(dumped) \(mirrored)"
    }

    private func assertHides(_ value: Any, _ secrets: String..., file: StaticString = #filePath, line: UInt = #line) {
        let text = printed(value)
        for secret in secrets { XCTAssertFalse(text.contains(secret), text, file: file, line: line) }
    }

    func testNothingThatAClientGivesPrintsASecret() async throws {
        let requests = Guarded<[HTTPRequest]>([])
        let server = FakeServer { request, _ in
            requests.withLock { $0.append(request) }
            return FakeServer.token("t0ken", more: ["refresh_token": "r3fresh"])
        }
        let client = try wallet(server)
        let token = try await client.token()
        assertHides(client, "t0ken", clientSecret)
        assertHides(token, "t0ken")
        assertHides([token as Any, client, ["x": token]], "t0ken", clientSecret)
        let request = try XCTUnwrap(requests.withLock { $0.first })
        XCTAssertTrue(String(decoding: request.body ?? Data(), as: UTF8.self).contains(clientSecret))
        assertHides(request, clientSecret)
        assertHides(FakeServer.token("t0ken"), "t0ken")
        XCTAssertTrue("\(token)".contains("generation 1"))
    }

    func testAnAuthorizationAndAnInsecureURLPrintNoSecret() async throws {
        let authorization = try await codeFlow(FakeServer()).authorizationURL()
        XCTAssertFalse(authorization.session.isEmpty)
        assertHides(authorization, authorization.session)
        let insecure = InsecureURL(url: try XCTUnwrap(URL(string: "https://x.example/?token=t0ken")), headers: [:])
        assertHides(insecure, "t0ken")
    }

    func testAConfigurationPrintsNoSecret() throws {
        var configuration = Configuration()
        configuration.apiToken = "t0ken"
        configuration.parameters = ["password": "pa55word"]
        configuration.variables = ["key": "k3y"]
        assertHides(configuration, "t0ken", "pa55word", "k3y")
        XCTAssertTrue(printed(configuration).contains("password"))
    }

    func testAnErrorNamesItsCauseAndNoMore() {
        struct Leaky: Error { let body = "t0ken" }
        let error = RemintError("host_error", .transport, "it failed", underlyingError: Leaky())
        assertHides(error, "t0ken")
        XCTAssertTrue(printed(error).contains("Leaky"))
        XCTAssertEqual(error.localizedDescription, "it failed")
    }

    func testWhatCrossesFromTheCorePrintsNoSecret() throws {
        let secret = Secret("t0ken")
        XCTAssertEqual(secret.expose(), "t0ken")
        assertHides(secret, "t0ken")
        assertHides(SecretBytes(Data("t0ken".utf8)), "t0ken", "116")
        assertHides(Header(name: "Authorization", value: secret), "t0ken")
        assertHides(Event.provided(op: "o1", value: secret), "t0ken")
        assertHides(Answer.authorization(url: "https://x.example", session: secret), "t0ken")
        assertHides(RemintCore.StoreCommand.save(expect: nil, record: secret, ttl: 1, unlock: "a"), "t0ken")
        assertHides(StoreLock.locked(record: "t0ken"), "t0ken")
        assertHides(StoreLock.held(retryIn: .seconds(1), record: "t0ken"), "t0ken")
        assertHides(StoreSave.conflict(record: "t0ken"), "t0ken")
        let signed = ServerSignature(
            algorithm: "ES256", jwk: "{}", input: Data("t0ken".utf8), signature: Data("t0ken".utf8))
        assertHides(signed, "t0ken", "116")
        assertHides(StoreKey(id: "2026-11", base64URL: "t0ken"), "t0ken")
        let client = RegisteredClient(
            ClientInformation(
                clientId: "c1", clientSecret: secret, clientIdIssuedAt: nil, clientSecretExpiresAt: nil,
                registrationAccessToken: secret, registrationClientUri: "https://x.example/c1", metadata: "{}"))
        assertHides(client, "t0ken")
        XCTAssertTrue(printed(client).contains("https://x.example/c1"))
        assertHides(Remint.RegistrationRequest.register(metadata: "t0ken", initialAccessToken: "t0ken"), "t0ken")
        for request in [try .read(client), try .update(client, metadata: "t0ken"), try .delete(client)]
            as [Remint.RegistrationRequest]
        {
            assertHides(request, "t0ken")
        }
    }
}
