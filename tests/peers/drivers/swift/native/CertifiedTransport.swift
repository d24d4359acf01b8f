// What a user of mutual TLS on Linux writes: a transport of their own, here by the system's libcurl.
import Foundation
import Remint

/// A transport that presents a client certificate and trusts an authority; all are paths of PEM files.
///
/// Each request has a connection of its own, so that no two certificates ever share one.
public func certified(certificate: String?, key: String?, authority: String?) -> Transport {
    { request in
        try await withCheckedThrowingContinuation { continuation in
            // libcurl blocks: not on one of the threads that all tasks share.
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        try Transfer(request, certificate: certificate, key: key, authority: authority).perform()
                    })
            }
        }
    }
}

private final class Transfer {
    private let handle: OpaquePointer
    private let request: HTTPRequest
    private var lines: OpaquePointer?
    private var headers: [HTTPHeader] = []
    private var body = Data()
    private var isTooLarge = false

    init(_ request: HTTPRequest, certificate: String?, key: String?, authority: String?) throws {
        guard let handle = curl.begin() else { throw TransportFailure(.notSent) }
        (self.handle, self.request) = (handle, request)
        set(10_002, request.url.absoluteString)  // CURLOPT_URL
        set(10_036, request.method)  // CURLOPT_CUSTOMREQUEST
        set(10_025, certificate)  // CURLOPT_SSLCERT
        set(10_087, key)  // CURLOPT_SSLKEY
        set(10_065, authority)  // CURLOPT_CAINFO
        set(10_102, "")  // CURLOPT_ACCEPT_ENCODING: all that it can undo
        _ = curl.setNumber(handle, 155, Int(request.timeout / .milliseconds(1)))  // CURLOPT_TIMEOUT_MS
        _ = curl.setNumber(handle, 99, 1)  // CURLOPT_NOSIGNAL
        if let body = request.body {
            _ = curl.setNumber(handle, 60, body.count)  // CURLOPT_POSTFIELDSIZE
            body.withUnsafeBytes { _ = curl.setPointer(handle, 10_165, $0.baseAddress) }  // CURLOPT_COPYPOSTFIELDS
        }
        for (name, value) in request.headers { lines = curl.append(lines, "\(name): \(value)") }
        // Nobody waits for a `100 Continue`.
        lines = curl.append(lines, "Expect:")
        _ = curl.setPointer(handle, 10_023, UnsafeRawPointer(lines))  // CURLOPT_HTTPHEADER
    }

    deinit {
        curl.end(handle)
        curl.freeLines(lines)
    }

    func perform() throws -> HTTPResponse {
        let own = Unmanaged.passUnretained(self).toOpaque()
        let takeBody: Take = { bytes, size, count, own in transfer(own).take(bytes, size * count) }
        let takeHeader: Take = { bytes, size, count, own in transfer(own).takeHeader(bytes, size * count) }
        _ = curl.setTake(handle, 20_011, takeBody)  // CURLOPT_WRITEFUNCTION
        _ = curl.setPointer(handle, 10_001, own)  // CURLOPT_WRITEDATA
        _ = curl.setTake(handle, 20_079, takeHeader)  // CURLOPT_HEADERFUNCTION
        _ = curl.setPointer(handle, 10_029, own)  // CURLOPT_HEADERDATA
        switch curl.perform(handle) {
        case 0: break
        case 5, 6, 7, 35, 58, 60, 77: throw TransportFailure(.notSent)  // no name, no connection, no TLS
        case 28: throw TransportFailure(.timeout)
        default: throw TransportFailure(isTooLarge ? .tooLarge : .maybeSent)
        }
        var status = 0
        _ = curl.number(handle, 0x20_0002, &status)  // CURLINFO_RESPONSE_CODE
        return HTTPResponse(status: status, headers: headers, body: body)
    }

    private func take(_ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
        guard count <= request.cap - body.count else {
            isTooLarge = true
            return 0
        }
        if let bytes { body.append(bytes.assumingMemoryBound(to: UInt8.self), count: count) }
        return count
    }

    private func takeHeader(_ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
        let line = String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
        if line.hasPrefix("HTTP/") { headers = [] }
        let parts = line.split(separator: ":", maxSplits: 1)
        if parts.count == 2 {
            headers.append((String(parts[0]), parts[1].trimmingCharacters(in: .whitespacesAndNewlines)))
        }
        return count
    }

    private func set(_ option: Int32, _ text: String?) {
        guard let text else { return }
        _ = text.withCString { curl.setPointer(handle, option, $0) }
    }
}

private func transfer(_ own: UnsafeMutableRawPointer?) -> Transfer {
    Unmanaged<Transfer>.fromOpaque(own!).takeUnretainedValue()
}

private typealias Take = @convention(c) (UnsafeRawPointer?, Int, Int, UnsafeMutableRawPointer?) -> Int

private let curl = Curl()

/// The functions of libcurl; those with variable arguments once for each kind that is passed.
///
/// `@unchecked`: nothing of it changes.
private final class Curl: @unchecked Sendable {
    private static let library = Library("libcurl.so.4")

    let begin: @convention(c) () -> OpaquePointer? = library["curl_easy_init"]
    let setPointer: @convention(c) (OpaquePointer, Int32, UnsafeRawPointer?) -> Int32 = library["curl_easy_setopt"]
    let setNumber: @convention(c) (OpaquePointer, Int32, Int) -> Int32 = library["curl_easy_setopt"]
    let setTake: @convention(c) (OpaquePointer, Int32, Take) -> Int32 = library["curl_easy_setopt"]
    let append: @convention(c) (OpaquePointer?, UnsafePointer<CChar>) -> OpaquePointer? = library["curl_slist_append"]
    let freeLines: @convention(c) (OpaquePointer?) -> Void = library["curl_slist_free_all"]
    let perform: @convention(c) (OpaquePointer) -> Int32 = library["curl_easy_perform"]
    let number: @convention(c) (OpaquePointer, Int32, UnsafeMutablePointer<Int>) -> Int32 = library["curl_easy_getinfo"]
    let end: @convention(c) (OpaquePointer) -> Void = library["curl_easy_cleanup"]

    init() {
        let beginAll: @convention(c) (Int) -> Int32 = Curl.library["curl_global_init"]
        _ = beginAll(3)
    }
}
