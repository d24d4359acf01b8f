import Foundation
import XCTest

@testable import Remint

/// Keys for `private_key_jwt`, and assertions that were made elsewhere.
final class SigningKeyTests: XCTestCase {
    private let profile = #"""
        {"name": "signed", "title": "Signed", "grants": ["client_credentials"],
         "token": {"endpoint": "https://auth.example.com/token", "client_auth": ["private_key_jwt"]},
         "api_origins": ["https://api.example.com"]}
        """#

    func testAKeySignsAnewForEachRequest() async throws {
        let server = FakeServer()
        var configuration = Configuration()
        configuration.transport = server.transport
        configuration.assertionAudience = "https://auth.example.com"
        configuration.signingKey = SigningKey(name: "kms/1", algorithm: "ES256", keyID: "k1") { _ in
            Data(repeating: 7, count: 64)
        }
        let client = try Client(profile, clientID: "someone", configuration: configuration)
        _ = try await client.token()
        _ = try await client.token(force: true)
        let assertions = server.received.compactMap {
            $0.form["client_assertion"]?.split(separator: ".").map(String.init)
        }
        XCTAssertEqual(assertions.count, 2)
        XCTAssertNotEqual(assertions[0][1], assertions[1][1])
        XCTAssertEqual(
            assertions[0][2], "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw")
        XCTAssertEqual(
            server.received[0].form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        await client.close()
    }

    func testASignatureOfAnotherKindIsRefusedWithItsCause() async throws {
        let server = FakeServer()
        var configuration = Configuration()
        configuration.transport = server.transport
        configuration.assertionAudience = "https://auth.example.com"
        configuration.signingKey = SigningKey(name: "k", algorithm: "ES256") { _ in
            Data([0x30, 0x45]) + Data(repeating: 1, count: 69)
        }
        let client = try Client(profile, clientID: "someone", configuration: configuration)
        do {
            _ = try await client.token(timeout: .milliseconds(50))
            XCTFail("a signature in DER went through")
        } catch let error as RemintError {
            XCTAssertEqual(error.code, "host_error")
            XCTAssertTrue(error.hint?.contains("r and s") == true)
        }
        XCTAssertEqual(server.received.count, 0)
        await client.close()
    }

    func testAnAssertionFromElsewhereIsReadAgain() async throws {
        let server = FakeServer()
        var configuration = Configuration()
        configuration.transport = server.transport
        configuration.clientAssertion = { "eyJhIjoxfQ.e30.c2ln" }
        let client = try Client(profile, clientID: "someone", configuration: configuration)
        _ = try await client.token()
        XCTAssertEqual(server.received[0].form["client_assertion"], "eyJhIjoxfQ.e30.c2ln")
        await client.close()
    }

    func testAWrongAlgorithmIsNamedAsSwiftHasIt() {
        var configuration = Configuration()
        configuration.assertionAudience = "https://a"
        configuration.signingKey = SigningKey(name: "k", algorithm: "none") { $0 }
        XCTAssertThrowsError(try Client(profile, clientID: "someone", configuration: configuration)) { error in
            XCTAssertEqual((error as? RemintError)?.code, "invalid_option")
            XCTAssertTrue("\(error)".contains("ES256"), "\(error)")
        }
    }
}
