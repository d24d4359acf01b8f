import XCTest

@testable import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

final class URLSessionTransportTests: XCTestCase {
    private let transport = URLSessionTransport(nil)

    private func send(_ url: URL, method: String = "POST", body: Data? = Data("a=b".utf8), cap: Int = 1000) async throws
        -> HTTPResponse
    {
        try await transport.send(
            HTTPRequest(method: method, url: url, headers: [("X-Mine", "1")], body: body, cap: cap), like: nil)
    }

    func testAChallengeIsNeitherAnsweredNorTheEndOfTheProcess() async throws {
        let challenges = [
            "Bearer", "bearer", "Basic", #"Basic realm="x""#, "Basic realm=x", "Digest", "Negotiate", "Bearer, Basic",
            #"Bearer realm="a", Basic"#, "",
            #"Bearer error="invalid_token""#, "Basic realm=", #"Basic realm=""#, ",,,",
            #"Digest realm="x", nonce="y", qop=auth"#,
        ]
        for challenge in challenges {
            let server = try LoopbackServer(
                "HTTP/1.1 401 No\r\nWWW-Authenticate: \(challenge)\r\nContent-Length: 4\r\n\r\nbody")
            let answer = try await send(server.url)
            XCTAssertEqual(answer.status, 401)
            XCTAssertEqual(String(decoding: answer.body, as: UTF8.self), "body", challenge)
            let lines = answer.headers.filter { $0.name.lowercased().hasSuffix("www-authenticate") }
            XCTAssertEqual(lines.map(\.value).filter { !$0.isEmpty }, [challenge].filter { !$0.isEmpty })
            XCTAssertTrue(lines.allSatisfy { $0.name.lowercased() == "www-authenticate" })
            XCTAssertEqual(server.count, 1, challenge)
        }
    }

    func testARedirectIsAnAnswer() async throws {
        let other = try LoopbackServer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        for status in [301, 302, 303, 307, 308] {
            let server = try LoopbackServer(
                "HTTP/1.1 \(status) Go\r\nLocation: \(other.url)\r\nContent-Length: 0\r\n\r\n")
            let answer = try await send(server.url)
            XCTAssertEqual(answer.status, status)
            XCTAssertEqual(answer.headers.first { $0.name.lowercased() == "location" }?.value, other.url.absoluteString)
        }
        XCTAssertEqual(other.count, 0)
    }

    func testARedirectToNowhereIsAnError() async throws {
        for location in [
            "http:///x", "http://", "http://:80/", "http://127.0.0.1:99999/", "ftp://x/", "mailto:x", "http://[",
            "\u{7f}",
        ] {
            let server = try LoopbackServer("HTTP/1.1 302 Go\r\nLocation: \(location)\r\nContent-Length: 0\r\n\r\n")
            var configuration = Configuration()
            configuration.allowLoopbackHTTP = true
            let client = try Client.fixed(
                "x", apiOrigins: ["\(server.url)".trimmingCharacters(in: ["/"])], configuration: configuration)
            do {
                _ = try await client.data(for: URLRequest(url: server.url))
                XCTFail("there is nothing at \(location)")
            } catch {
                XCTAssertTrue(
                    error is URLError || error is TransportFailure || error is RemintError, "\(location): \(error)")
            }
        }
    }

    func testAnAnswerIsReadUpToItsCap() async throws {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + String(repeating: "x", count: 1000)
        let server = try LoopbackServer(text)
        let answer = try await send(server.url, cap: 1000)
        XCTAssertEqual(answer.body.count, 1000)
        do {
            _ = try await send(server.url, cap: 999)
            XCTFail("it is longer")
        } catch {
            XCTAssertEqual(failureKind(error), .tooLarge)
        }
    }

    func testALongBodyIsCollectedInItsParts() async throws {
        let length = 20_000_000
        let server = try LoopbackServer(
            "HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\n" + String(repeating: "x", count: length))
        let answer = try await send(server.url, cap: .max)
        XCTAssertEqual(answer.body.count, length)
    }

    func testWhatNeverLeftIsToldFromWhatMayHave() async throws {
        let gone = try { try LoopbackServer(nil).url }()
        do {
            _ = try await send(gone)
            XCTFail("nobody listens")
        } catch {
            XCTAssertEqual(failureKind(error), .notSent)
        }
        let cut = try LoopbackServer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        do {
            _ = try await send(cut.url)
            XCTFail("the answer was cut")
        } catch {
            XCTAssertEqual(failureKind(error), .maybeSent)
        }
        let silent = try LoopbackServer("")
        do {
            _ = try await send(silent.url)
            XCTFail("there was no answer")
        } catch {
            XCTAssertEqual(failureKind(error), .maybeSent)
        }
        var components = try XCTUnwrap(URLComponents(url: cut.url, resolvingAgainstBaseURL: false))
        components.scheme = "https"
        do {
            _ = try await send(XCTUnwrap(components.url))
            XCTFail("that is no TLS")
        } catch {
            XCTAssertEqual(failureKind(error), .notSent)
        }
    }

    func testACancelledTaskEndsItsRequest() async throws {
        let server = try LoopbackServer(nil)
        let transport = transport
        let task = Task { try await transport.send(HTTPRequest(method: "GET", url: server.url), like: nil) }
        let isSent = await until { server.count == 1 }
        XCTAssertTrue(isSent)
        task.cancel()
        let outcome = await task.result
        XCTAssertThrowsError(try outcome.get()) { XCTAssertTrue($0 is CancellationError) }

        let early = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await transport.send(HTTPRequest(method: "GET", url: server.url), like: nil)
        }
        let end = await early.result
        XCTAssertThrowsError(try end.get()) { XCTAssertTrue($0 is CancellationError) }
    }

    func testABodyMayComeFromAStream() async throws {
        let server = try LoopbackServer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        var request = URLRequest(url: server.url)
        request.httpBodyStream = InputStream(data: Data("stream".utf8))
        let answer = try await transport.send(HTTPRequest(method: "POST", url: server.url), like: request)
        XCTAssertEqual(answer.status, 200)
    }
}
