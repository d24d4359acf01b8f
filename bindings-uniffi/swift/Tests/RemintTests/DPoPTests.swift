import XCTest

@testable import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Tokens that are bound to a key (RFC 9449), at the server that gives them and at APIs.
final class DPoPTests: XCTestCase {
    private let api = URL(string: "https://api.example/v1/orders?page=2#top")!

    /// Servers that want a nonce at each place, and name the next one with each answer.
    private static func strict(_ request: HTTPRequest, _ number: Int) -> HTTPResponse {
        let proof = request.proof
        guard request.url.host == "api.example" else {
            guard proof?["nonce"] == "as-1" else {
                var answer = FakeServer.json(400, #"{"error":"use_dpop_nonce"}"#)
                answer.headers.append(("DPoP-Nonce", "as-1"))
                return answer
            }
            return FakeServer.token("T\(number)", more: ["token_type": "DPoP"])
        }
        guard let nonce = proof?["nonce"], nonce.hasPrefix("api-") else {
            return HTTPResponse(
                status: 401, headers: [("WWW-Authenticate", #"DPoP error="use_dpop_nonce""#), ("DPoP-Nonce", "api-1")])
        }
        return HTTPResponse(status: 200, headers: [("DPoP-Nonce", nonce + "+")], body: Data("ok".utf8))
    }

    func testAPublicKeyIsTakenAsSwiftCryptoGivesIt() async throws {
        // The points of RFC 7517 appendix A.1 and RFC 8037 appendix A.2; on P-384 only the length counts here.
        let x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
        let point = try XCTUnwrap(Data(base64URL: x)) + XCTUnwrap(Data(base64URL: y))
        let edwards = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        let wide = String(repeating: "BwcH", count: 16)
        let cases: [(String, Data, [String: String])] = [
            ("ES256", point, ["kty": "EC", "crv": "P-256", "x": x, "y": y]),
            // A slice, whose first index is not zero.
            ("ES256", (Data([4]) + point).dropFirst(), ["kty": "EC", "crv": "P-256", "x": x, "y": y]),
            ("ES384", Data(repeating: 7, count: 96), ["kty": "EC", "crv": "P-384", "x": wide, "y": wide]),
            ("EdDSA", try XCTUnwrap(Data(base64URL: edwards)), ["kty": "OKP", "crv": "Ed25519", "x": edwards]),
        ]
        for (algorithm, publicKey, jwk) in cases {
            let size = algorithm == "ES384" ? 96 : 64
            let key = try DPoPKey(algorithm: algorithm, publicKey: publicKey) { _ in Data(repeating: 7, count: size) }
            XCTAssertEqual(key.jwk, jwk)
            let server = FakeServer { _, number in FakeServer.token("T\(number)", more: ["token_type": "DPoP"]) }
            let client = try acme(server, grant: "client_credentials") { $0.dpop = key }
            _ = try await client.token()
            XCTAssertEqual(server.received[0].proof?.header["jwk"] as? [String: String], jwk)
            XCTAssertEqual(server.received[0].proof?.header["alg"] as? String, algorithm)
            await client.close()
        }
    }

    func testAPublicKeyThatDoesNotFitItsAlgorithmIsRefused() {
        for (algorithm, size) in [("ES256", 65), ("ES256", 96), ("ES384", 64), ("EdDSA", 64), ("RS256", 64)] {
            XCTAssertThrowsError(
                try DPoPKey(algorithm: algorithm, publicKey: Data(repeating: 7, count: size)) { $0 }
            ) { error in
                XCTAssertEqual((error as? RemintError)?.code, "invalid_option")
                XCTAssertTrue("\(error)".contains(algorithm == "RS256" ? "jwk" : "rawRepresentation"), "\(error)")
            }
        }
    }

    func testANonceIsLearnedAtBothPlacesAndCostsNoToken() async throws {
        let server = FakeServer(DPoPTests.strict)
        let client = try acme(server, grant: "client_credentials") { $0.dpop = prover() }
        var request = URLRequest(url: api)
        request.httpMethod = "POST"
        request.httpBody = Data("body".utf8)
        for _ in 0..<2 {
            let (data, response) = try await client.data(for: request)
            XCTAssertEqual(response.statusCode, 200)
            XCTAssertEqual(String(decoding: data, as: UTF8.self), "ok")
        }
        let token = try await client.token()
        XCTAssertEqual(token.tokenType, "DPoP")
        XCTAssertEqual(token.authorization, "DPoP \(token.accessToken)")
        let fetched = server.received.filter { $0.url.host == "login.example" }
        XCTAssertEqual(fetched.map { $0.proof?["nonce"] }, [nil, "as-1"])
        XCTAssertNil(fetched[1].proof?["ath"])
        let calls = server.received.filter { $0.url.host == "api.example" }
        XCTAssertEqual(calls.map { $0.proof?["nonce"] }, [nil, "api-1", "api-1+"])
        XCTAssertEqual(Set(calls.compactMap { $0.proof?["jti"] }).count, 3)
        for call in calls {
            XCTAssertEqual(call.proof?["htm"], "POST")
            XCTAssertEqual(call.proof?["htu"], "https://api.example/v1/orders")
            XCTAssertEqual(call.proof?["ath"]?.count, 43)
            XCTAssertEqual(call.proof?.header["typ"] as? String, "dpop+jwt")
            XCTAssertEqual(call.header("Authorization"), token.authorization)
            XCTAssertEqual(call.body, Data("body".utf8))
        }
        await client.close()
    }

    func testABodyStreamIsNotSentAgainForANonce() async throws {
        let server = FakeServer(DPoPTests.strict)
        let notices = Guarded<[String]>([])
        let client = try acme(server, grant: "client_credentials") {
            $0.dpop = prover()
            $0.onNotice = { notice in notices.withLock { $0.append(notice.name) } }
        }
        var request = URLRequest(url: api)
        request.httpMethod = "POST"
        request.httpBodyStream = InputStream(data: Data("stream".utf8))
        let (_, response) = try await client.data(for: request)
        XCTAssertEqual(response.statusCode, 401)
        XCTAssertEqual(server.received.filter { $0.url.host == "api.example" }.count, 1)
        XCTAssertTrue(notices.withLock { $0.contains("body_not_replayable") })
        await client.close()
    }

    func testAServerThatWantsANewNonceEachTimeIsNotAskedForever() async throws {
        let server = FakeServer { request, number in
            guard request.url.host == "api.example" else {
                return FakeServer.token("T\(number)", more: ["token_type": "DPoP"])
            }
            return HTTPResponse(
                status: 401,
                headers: [("WWW-Authenticate", #"DPoP error="use_dpop_nonce""#), ("DPoP-Nonce", "n\(number)")])
        }
        let client = try acme(server, grant: "client_credentials") { $0.dpop = prover() }
        let (_, response) = try await client.data(for: URLRequest(url: api))
        XCTAssertEqual(response.statusCode, 401)
        XCTAssertEqual(server.received.filter { $0.url.host == "api.example" }.count, 2)
        XCTAssertEqual(server.received.filter { $0.url.host == "login.example" }.count, 1)
        await client.close()
    }

    func testARedirectGetsAProofOfItsOwnAndAnotherOriginGetsNone() async throws {
        let server = FakeServer { request, number in
            switch (request.url.host, request.url.path) {
            case ("login.example", _): FakeServer.token("T\(number)", more: ["token_type": "DPoP"])
            case ("api.example", "/v1/orders"):
                HTTPResponse(status: 307, headers: [("Location", "/v2/orders"), ("DPoP-Nonce", "learned")])
            case ("api.example", _): HTTPResponse(status: 307, headers: [("Location", "https://elsewhere.example/")])
            default: HTTPResponse(status: 200)
            }
        }
        let client = try acme(server, grant: "client_credentials") { $0.dpop = prover() }
        _ = try await client.data(for: URLRequest(url: api))
        let calls = Array(server.received.dropFirst())
        XCTAssertEqual(
            calls.map { $0.proof?["htu"] }, ["https://api.example/v1/orders", "https://api.example/v2/orders", nil])
        XCTAssertEqual(calls.map { $0.proof?["nonce"] }, [nil, "learned", nil])
        XCTAssertEqual(calls.map { $0.header("Authorization") != nil }, [true, true, false])
        await client.close()
    }

    func testWhoSendsRequestsThemselvesGetsAProofForEach() async throws {
        let server = FakeServer { _, number in FakeServer.token("T\(number)", more: ["token_type": "DPoP"]) }
        let client = try acme(server, grant: "client_credentials") { $0.dpop = prover() }
        let token = try await client.token()
        let first = try await client.headers(method: "GET", url: api)
        let challenge = [("www-authenticate", #"DPoP error="use_dpop_nonce""#), ("dpop-nonce", "n1")]
        let again = try await client.reject(token, method: "GET", url: api, status: 401, headers: challenge)
        XCTAssertTrue(again)
        let second = try await client.headers(method: "GET", url: api)
        XCTAssertEqual(first["Authorization"], second["Authorization"])
        XCTAssertNil(UncheckedJWT(first["DPoP"])?["nonce"])
        XCTAssertEqual(UncheckedJWT(second["DPoP"])?["nonce"], "n1")
        XCTAssertEqual(server.received.count, 1)
        await client.close()
    }

    func testAStepUpReachesTheUserAsATypedErrorAndCostsNoToken() async throws {
        let server = FakeServer { request, number in
            guard request.url.host == "api.example" else { return FakeServer.token("T\(number)") }
            let challenge =
                #"Bearer error="insufficient_user_authentication", acr_values="gold silver", max_age="300""#
            return HTTPResponse(
                status: request.url.path == "/403" ? 403 : 401, headers: [("WWW-Authenticate", challenge)])
        }
        let client = try acme(server, grant: "client_credentials") { _ in }
        for path in ["/401", "/403"] {
            let url = try XCTUnwrap(URL(string: "https://api.example\(path)"))
            let error = await failure { try await client.data(for: URLRequest(url: url)) }
            XCTAssertEqual(error?.code, "insufficient_user_authentication")
            XCTAssertEqual(error?.family, .server)
            XCTAssertEqual(error?.acrValues, "gold silver")
            XCTAssertEqual(error?.maxAge, .seconds(300))
            XCTAssertTrue(error?.message.contains("`authorizationURL`") == true, "\(error as Any)")
        }
        XCTAssertEqual(server.received.filter { $0.url.host == "login.example" }.count, 1)
        await client.close()
    }

    func testAnotherKeyMeansAnotherToken() async throws {
        let server = FakeServer { _, number in FakeServer.token("T\(number)", more: ["token_type": "DPoP"]) }
        let client = try acme(server, grant: "client_credentials") { $0.dpop = prover(1) }
        _ = try await client.token()
        var other = prover(2)
        other.jwk["x"] = String(repeating: "B", count: 42) + "A"
        try client.renewed(dpop: other)
        XCTAssertNil(client.peek())
        let token = try await client.token()
        XCTAssertEqual(token.accessToken, "T2")
        let proofs = server.received.compactMap(\.proof)
        XCTAssertNotEqual(proofs[0].signature, proofs[1].signature)
        XCTAssertEqual((proofs[1].header["jwk"] as? [String: Any])?["x"] as? String, other.jwk["x"])
        await client.close()
    }

    func testATokenThatIsNotBoundIsRefusedUnlessThatIsAllowed() async throws {
        for isRequired in [true, false] {
            let server = FakeServer()
            var key = prover()
            key.isRequired = isRequired
            let client = try acme(server, grant: "client_credentials") { $0.dpop = key }
            let error = await failure { try await client.token() }
            XCTAssertEqual(error?.code, isRequired ? "unsupported_token_type" : nil)
            await client.close()
        }
    }

    func testAKeyThatDoesNotFitIsRefusedBeforeAnythingIsSent() {
        let server = FakeServer()
        for change in [
            { (key: inout DPoPKey) in key.algorithm = "ES384" }, { $0.algorithm = "HS256" }, { $0.jwk["d"] = "s3cret" },
            { $0.jwk["kty"] = "RSA" },
            {
                $0.jwk = ["kty": "RSA", "e": "AQAB", "n": "AQAB"]
                $0.algorithm = "PS256"
            },
        ] {
            var key = prover()
            change(&key)
            XCTAssertThrowsError(try acme(server, grant: "client_credentials") { $0.dpop = key }) { error in
                XCTAssertEqual((error as? RemintError)?.code, "invalid_option")
                XCTAssertFalse("\(error)".contains("s3cret"))
            }
        }
        XCTAssertEqual(server.received.count, 0)
    }

    func testAKeyThatFailsIsTheCauseOfTheError() async throws {
        struct Locked: Error {}
        let isLocked = Guarded(false)
        let server = FakeServer { _, number in FakeServer.token("T\(number)", more: ["token_type": "DPoP"]) }
        var key = prover()
        key.sign = { _ in
            if isLocked.withLock({ $0 }) { throw Locked() }
            return Data(repeating: 7, count: 64)
        }
        let client = try acme(server, grant: "client_credentials") { $0.dpop = key }
        _ = try await client.token()
        isLocked.withLock { $0 = true }
        let error = await failure { try await client.data(for: URLRequest(url: api)) }
        XCTAssertEqual(error?.code, "host_error")
        XCTAssertTrue(error?.underlyingError is Locked, "\(error as Any)")
        isLocked.withLock { $0 = false }
        let headers = try await client.headers(method: "GET", url: api)
        XCTAssertNotNil(headers["DPoP"])
        XCTAssertEqual(server.received.count, 1)
        await client.close()
    }

    func testManyCallsAtOnceHaveAProofEachAndOneToken() async throws {
        let server = FakeServer { request, number in
            request.url.host == "api.example"
                ? HTTPResponse(status: 200) : FakeServer.token("T\(number)", more: ["token_type": "DPoP"])
        }
        var key = prover()
        key.sign = { _ in
            try await Task.sleep(for: .milliseconds(1))
            return Data(repeating: 7, count: 64)
        }
        let client = try acme(server, grant: "client_credentials") { $0.dpop = key }
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<200 {
                group.addTask { [api] in try await client.data(for: URLRequest(url: api)).1.statusCode }
            }
            for try await status in group { XCTAssertEqual(status, 200) }
        }
        let calls = server.received.filter { $0.url.host == "api.example" }
        XCTAssertEqual(Set(calls.compactMap { $0.proof?["jti"] }).count, 200)
        XCTAssertEqual(server.received.count, 201)
        XCTAssertNotNil(client.peek())
        await client.close()
    }

    func testWhoIsCancelledWhileTheKeySignsStopsWaiting() async throws {
        let server = FakeServer { _, number in FakeServer.token("T\(number)", more: ["token_type": "DPoP"]) }
        let gate = Gate()
        let isSlow = Guarded(false)
        let waiting = Guarded(0)
        var key = prover()
        key.sign = { _ in
            if isSlow.withLock({ $0 }) {
                waiting.withLock { $0 += 1 }
                await gate.pass()
            }
            return Data(repeating: 7, count: 64)
        }
        let client = try acme(server, grant: "client_credentials") { $0.dpop = key }
        _ = try await client.token()
        isSlow.withLock { $0 = true }
        let calls = (0..<2).map { _ in Task { [api] in try await client.headers(method: "GET", url: api) } }
        let isSigning = await until { waiting.withLock { $0 } == 2 }
        XCTAssertTrue(isSigning)
        calls[0].cancel()
        let cancelled = await calls[0].result
        XCTAssertThrowsError(try cancelled.get()) { XCTAssertTrue($0 is CancellationError, "\($0)") }
        gate.open()
        let headers = try await calls[1].value
        XCTAssertNotNil(headers["DPoP"])
        await client.close()
    }

    func testKeysOfOneNameAreKeptApart() async throws {
        let server = FakeServer { _, number in FakeServer.token("T\(number)", more: ["token_type": "DPoP"]) }
        let client = try acme(server, grant: "client_credentials", secret: nil) {
            $0.dpop = prover(1)
            $0.clientAuth = "private_key_jwt"
            $0.assertionAudience = "https://login.example"
            $0.signingKey = SigningKey(name: "dpop", algorithm: "ES256") { _ in Data(repeating: 2, count: 64) }
        }
        _ = try await client.token()
        let request = try XCTUnwrap(server.received.first)
        XCTAssertEqual(request.proof?.signature.prefix(4), "AQEB")
        XCTAssertEqual(UncheckedJWT(request.form["client_assertion"])?.signature.prefix(4), "AgIC")
        await client.close()
    }
}
