import XCTest

@testable import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

final class APICallTests: XCTestCase {
    private let api = URL(string: "https://api.example/v1/wallets")!

    func testARefusedTokenIsReplacedOnce() async throws {
        let server = FakeServer { request, number in
            guard request.url.host == "api.example" else { return FakeServer.token("T\(number)") }
            return request.header("Authorization") == "Bearer T1"
                ? HTTPResponse(status: 401) : FakeServer.json(200, "{}")
        }
        let client = try wallet(server)
        _ = try await client.token()
        var request = URLRequest(url: api)
        request.httpMethod = "POST"
        request.httpBody = Data("body".utf8)
        request.setValue("mine", forHTTPHeaderField: "X-Mine")
        let (data, response) = try await client.data(for: request)
        XCTAssertEqual(response.statusCode, 200)
        XCTAssertEqual(String(decoding: data, as: UTF8.self), "{}")
        let calls = server.received.filter { $0.url.host == "api.example" }
        XCTAssertEqual(calls.map { $0.header("Authorization") }, ["Bearer T1", "Bearer T3"])
        XCTAssertEqual(calls.map { $0.body }, [Data("body".utf8), Data("body".utf8)])
        XCTAssertEqual(calls.map { $0.header("X-Mine") }, ["mine", "mine"])
    }

    func testAServerThatRefusesEveryTokenIsNotAskedForever() async throws {
        let server = FakeServer { request, number in
            request.url.host == "api.example" ? HTTPResponse(status: 401) : FakeServer.token("T\(number)")
        }
        let client = try wallet(server)
        _ = try await client.token()
        let (_, response) = try await client.data(for: URLRequest(url: api))
        XCTAssertEqual(response.statusCode, 401)
        XCTAssertEqual(server.received.filter { $0.url.host == "api.example" }.count, 2)
    }

    func testABodyStreamIsSentOnce() async throws {
        let server = FakeServer { request, number in
            request.url.host == "api.example" ? HTTPResponse(status: 401) : FakeServer.token("T\(number)")
        }
        let notices = Guarded<[String]>([])
        let client = try wallet(server) { $0.onNotice = { notice in notices.withLock { $0.append(notice.name) } } }
        _ = try await client.token()
        var request = URLRequest(url: api)
        request.httpMethod = "POST"
        request.httpBodyStream = InputStream(data: Data("stream".utf8))
        let (_, response) = try await client.data(for: request)
        XCTAssertEqual(response.statusCode, 401)
        XCTAssertEqual(server.received.last?.body, Data("stream".utf8))
        XCTAssertEqual(server.received.count, 2)
        XCTAssertTrue(notices.withLock { $0.contains("body_not_replayable") })
    }

    func testCredentialsStayWithTheirOrigin() async throws {
        let server = FakeServer { request, number in
            switch (request.url.host, request.url.path) {
            case ("login.example", _): FakeServer.token("T\(number)")
            case ("api.example", "/v1/wallets"): HTTPResponse(status: 302, headers: [("location", "/v2/wallets")])
            case ("api.example", _): HTTPResponse(status: 307, headers: [("Location", "https://elsewhere.example/w")])
            case ("elsewhere.example", _):
                HTTPResponse(status: 308, headers: [("Location", "https://api.example:443/v3")])
            default: HTTPResponse(status: 200)
            }
        }
        let client = try wallet(server)
        var request = URLRequest(url: api)
        request.setValue("a=b", forHTTPHeaderField: "Cookie")
        do {
            _ = try await client.data(for: request)
            XCTFail("the redirects go round in circles")
        } catch let error as URLError {
            XCTAssertEqual(error.code, .httpTooManyRedirects)
        }
        let calls = Array(server.received.dropFirst().prefix(4))
        XCTAssertEqual(
            calls.map { $0.url.absoluteString.replacingOccurrences(of: ":443", with: "") },
            [
                "https://api.example/v1/wallets", "https://api.example/v2/wallets", "https://elsewhere.example/w",
                "https://api.example/v3",
            ])
        XCTAssertEqual(calls.map { $0.header("Authorization") != nil }, [true, true, false, false])
        XCTAssertEqual(calls.map { $0.header("Cookie") != nil }, [true, true, false, false])
    }

    func testARedirectedPostBecomesAGet() async throws {
        let server = FakeServer { request, number in
            switch (request.url.host, request.url.path) {
            case ("login.example", _): FakeServer.token("T\(number)")
            case (_, "/v1/wallets"): HTTPResponse(status: 303, headers: [("Location", "done")])
            default: HTTPResponse(status: 200)
            }
        }
        var request = URLRequest(url: api)
        request.httpMethod = "POST"
        request.httpBody = Data("x".utf8)
        request.setValue("text/plain", forHTTPHeaderField: "Content-Type")
        _ = try await wallet(server).data(for: request)
        let last = try XCTUnwrap(server.received.last)
        XCTAssertEqual(last.url.path, "/v1/done")
        XCTAssertEqual(last.method, "GET")
        XCTAssertNil(last.body)
        XCTAssertNil(last.header("Content-Type"))
    }

    func testATokenGoesNowhereElse() async throws {
        let server = FakeServer()
        do {
            _ = try await wallet(server).data(for: URLRequest(url: XCTUnwrap(URL(string: "https://evil.example/"))))
            XCTFail("nobody allowed that origin")
        } catch let error as RemintError {
            XCTAssertEqual(error.code, "origin_not_allowed")
            XCTAssertTrue("\(error)".contains("`apiOrigins`"), "\(error)")
        }
        XCTAssertFalse(server.received.contains { $0.url.host == "evil.example" })
    }

    func testWhoSendsRequestsThemselvesAsksAndReports() async throws {
        let server = FakeServer()
        let client = try wallet(server)
        let token = try await client.token()
        let headers = try await client.headers(method: "GET", url: api)
        XCTAssertEqual(headers["Authorization"], "Bearer T1")
        let cached = try await client.token()
        let again = try await client.reject(cached, method: "GET", url: api, status: 401)
        XCTAssertTrue(again)
        let fine = try await client.reject(token, method: "GET", url: api, status: 200, headers: [("X", "y")])
        XCTAssertFalse(fine)
        let other = try await client.token()
        XCTAssertEqual(other.accessToken, "T2")
    }

    func testAFixedTokenAsksNobody() async throws {
        let server = FakeServer { request, _ in FakeServer.json(200, request.header("authorization") ?? "") }
        var configuration = Configuration()
        configuration.transport = server.transport
        let client = try Client.fixed("abc", apiOrigins: ["https://api.example"], configuration: configuration)
        let token = try await client.token()
        XCTAssertEqual(token.accessToken, "abc")
        let (data, _) = try await client.data(for: URLRequest(url: api))
        XCTAssertEqual(String(decoding: data, as: UTF8.self), "Bearer abc")
        XCTAssertEqual(server.received.count, 1)
    }

    func testARequestWithoutURLIsAnError() async throws {
        var request = URLRequest(url: api)
        request.url = nil
        do {
            _ = try await wallet(FakeServer()).data(for: request)
            XCTFail("there is no URL")
        } catch let error as RemintError {
            XCTAssertEqual(error.code, "invalid_option")
        }
    }

    func testOddTimeoutsAreBroughtIntoRange() async throws {
        let server = FakeServer { request, number in
            request.url.host == "api.example" ? HTTPResponse(status: 200) : FakeServer.token("T\(number)")
        }
        let client = try wallet(server)
        for interval in [Double.nan, .infinity, -.infinity, -1, 0, 1e300] {
            var request = URLRequest(url: api)
            request.timeoutInterval = interval
            let (_, response) = try await client.data(for: request)
            XCTAssertEqual(response.statusCode, 200)
        }
    }
}
