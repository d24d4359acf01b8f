import XCTest

@testable import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Tokens for tokens and for assertions; resources; and what is replaced while a client runs.
final class ExchangeTests: XCTestCase {
    func testATokenIsExchangedForWhatTheFunctionGivesForTheUser() async throws {
        let server = FakeServer { _, number in
            FakeServer.token("T\(number)", more: ["issued_token_type": "urn:ietf:params:oauth:token-type:access_token"])
        }
        let client = try acme(server, grant: "token_exchange") {
            $0.subjectToken = { subject in "token of \(subject ?? "nobody")" }
            $0.actorToken = { _ in "actor" }
            $0.subjectTokenType = "jwt"
        }
        let ada = try client.withSubject("ada")
        let token = try await ada.token()
        XCTAssertEqual(token.accessToken, "T1")
        let form = server.received[0].form
        XCTAssertEqual(form["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange")
        XCTAssertEqual(form["subject_token"], "token of ada")
        XCTAssertEqual(form["subject_token_type"], "urn:ietf:params:oauth:token-type:jwt")
        XCTAssertEqual(form["actor_token"], "actor")
        _ = try await client.token()
        XCTAssertEqual(server.received[1].form["subject_token"], "token of nobody")
        await client.close()
    }

    func testATokenThatTheHostHoldsIsExchanged() async throws {
        let server = FakeServer { _, number in
            FakeServer.token("T\(number)", more: ["issued_token_type": "urn:ietf:params:oauth:token-type:access_token"])
        }
        let client = try acme(server, grant: "token_exchange") { _ in }
        let ada = try client.withSubject("ada", subjectToken: "hers", actorToken: "mine")
        _ = try await ada.token()
        XCTAssertEqual(server.received[0].form["subject_token"], "hers")
        XCTAssertEqual(server.received[0].form["actor_token"], "mine")
        await client.close()
    }

    func testAFileIsReadAgainAndAMissingOneIsNamed() async throws {
        let path = NSTemporaryDirectory() + "/remint-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let server = FakeServer()
        let client = try acme(server, grant: "client_credentials", secret: nil) {
            $0.clientAuth = "private_key_jwt"
            $0.clientAssertionFile = path
            $0.policy["attempts"] = 1
            for (name, value) in longPauses { $0.policy[name] = value }
        }
        let error = await failure { try await client.token(timeout: .seconds(1)) }
        XCTAssertEqual(error?.code, "host_error")
        XCTAssertTrue(error?.hint?.contains(path) == true, "\(error as Any)")
        XCTAssertEqual(server.received.count, 0)
        await client.close()

        let reading = try acme(server, grant: "client_credentials", secret: nil) {
            $0.clientAuth = "private_key_jwt"
            $0.clientAssertionFile = path
        }
        for assertion in ["eyJhIjoxfQ.e30.c2ln", "eyJhIjoyfQ.e30.c2ln"] {
            try Data("\(assertion)\r\n".utf8).write(to: URL(fileURLWithPath: path))
            _ = try await reading.token(force: true)
            XCTAssertEqual(server.received.last?.form["client_assertion"], assertion)
        }
        await reading.close()
    }

    func testAFunctionAndAFileStandNotBesideEachOther() {
        XCTAssertThrowsError(
            try acme(FakeServer(), grant: "token_exchange") {
                $0.subjectToken = { _ in "" }
                $0.subjectTokenFile = "here"
            }
        ) { error in
            XCTAssertEqual((error as? RemintError)?.code, "invalid_option")
            XCTAssertTrue("\(error)".contains("`subjectTokenFile`"), "\(error)")
        }
    }

    func testAnAssertionIsTheGrant() async throws {
        let server = FakeServer()
        let given = try acme(server, grant: "jwt_bearer") { $0.assertion = { subject in "a.b.\(subject ?? "c")" } }
        _ = try await given.withSubject("ada").token()
        XCTAssertEqual(server.received[0].form["assertion"], "a.b.ada")
        await given.close()

        let signed = try acme(server, grant: "jwt_bearer") {
            $0.assertionAudience = "https://login.example"
            $0.assertionIssuer = "robot@example.com"
            $0.assertionSubject = "ada"
            $0.assertionClaims = ["tenant": "t1"]
            $0.signingKey = SigningKey(name: "k", algorithms: ["PS256", "RS256"]) { _, algorithm in
                Data(repeating: algorithm == "PS256" ? 3 : 4, count: 256)
            }
        }
        _ = try await signed.token()
        let assertion = try XCTUnwrap(UncheckedJWT(server.received[1].form["assertion"]))
        XCTAssertEqual(assertion["iss"], "robot@example.com")
        XCTAssertEqual(assertion["sub"], "ada")
        XCTAssertEqual(assertion["tenant"], "t1")
        // The first of several, where nothing else is known.
        XCTAssertEqual(assertion.header["alg"] as? String, "PS256")
        XCTAssertEqual(assertion.signature.prefix(4), "AwMD")
        await signed.close()
    }

    func testEachResourceHasATokenOfItsOwn() async throws {
        let server = FakeServer()
        let client = try acme(server, grant: "client_credentials") { _ in }
        let mail = client.withResource(["https://mail.example"])
        let files = client.withResource(["https://files.example"])
        for _ in 0..<2 {
            let tokens = [try await mail.token().accessToken, try await files.token().accessToken]
            XCTAssertEqual(tokens, ["T1", "T2"])
        }
        XCTAssertEqual(server.received.map { $0.form["resource"] }, ["https://mail.example", "https://files.example"])
        let error = await failure { try await client.withResource(["not a URI"]).token() }
        XCTAssertEqual(error?.code, "invalid_option")
        await client.close()
    }

    func testACertificateGoesWithTheTokenThatIsBoundToIt() async throws {
        let server = FakeServer { request, number in
            request.url.host == "api.example" ? HTTPResponse(status: 200) : FakeServer.token("T\(number)")
        }
        let (old, new) = (String(repeating: "o", count: 43), String(repeating: "n", count: 43))
        let client = try acme(server, grant: "client_credentials", secret: nil) {
            $0.clientAuth = "tls_client_auth"
            $0.certificateThumbprint = old
        }
        let request = URLRequest(url: try XCTUnwrap(URL(string: "https://api.example/")))
        _ = try await client.data(for: request)
        XCTAssertEqual(server.received.map(\.certificateThumbprint), [old, old])
        try client.renewed(certificateThumbprint: new)
        XCTAssertNil(client.peek())
        _ = try await client.data(for: request)
        XCTAssertEqual(server.received.map(\.certificateThumbprint), [old, old, new, new])
        XCTAssertEqual(server.received.last?.header("Authorization"), "Bearer T3")
        XCTAssertNil(server.received[0].header("Authorization"))
        XCTAssertEqual(server.received[0].form["client_id"], "me")
        await client.close()
    }

    func testACertificateThatNobodyPresentsIsRefused() {
        var configuration = Configuration()
        configuration.certificateThumbprint = "x"
        XCTAssertThrowsError(try Client(everything, clientID: "me", configuration: configuration)) { error in
            XCTAssertEqual((error as? RemintError)?.code, "invalid_option")
            XCTAssertTrue("\(error)".contains("`transport`"), "\(error)")
        }
    }

    func testAKeyIsReplacedWithoutARestart() async throws {
        let server = FakeServer()
        let client = try acme(server, grant: "client_credentials", secret: nil) {
            $0.clientAuth = "private_key_jwt"
            $0.assertionAudience = "https://login.example"
            $0.signingKey = SigningKey(name: "one", algorithm: "ES256", keyID: "1") { _ in Data(repeating: 1, count: 64)
            }
        }
        _ = try await client.token()
        try client.renewed(
            signingKey: SigningKey(name: "two", algorithm: "ES256", keyID: "2") { _ in Data(repeating: 2, count: 64) })
        _ = try await client.token(force: true)
        let assertions = server.received.compactMap { UncheckedJWT($0.form["client_assertion"]) }
        XCTAssertEqual(assertions.map { $0.header["kid"] as? String }, ["1", "2"])
        XCTAssertEqual(assertions.map { $0.signature.prefix(4) }, ["AQEB", "AgIC"])
        XCTAssertThrowsError(try client.renewed(signingKey: SigningKey(name: "three", algorithm: "none") { $0 })) {
            XCTAssertEqual(($0 as? RemintError)?.code, "invalid_option")
        }
        _ = try await client.token(force: true)
        XCTAssertEqual(UncheckedJWT(server.received.last?.form["client_assertion"])?.header["kid"] as? String, "2")
        await client.close()
    }
}
