import Foundation

@testable import Remint

#if canImport(Darwin)
    import Darwin
    private let stream = SOCK_STREAM
#else
    import Glibc
    private let stream = Int32(SOCK_STREAM.rawValue)
#endif

/// A server on a free port of 127.0.0.1 that answers every request with the same bytes, and then closes the connection.
final class LoopbackServer: Sendable {
    let url: URL
    private let listener: Int32
    private let requests = Guarded(0)

    /// How many requests arrived.
    var count: Int { requests.withLock { $0 } }

    /// Without an answer, connections stay open and silent.
    init(_ answer: String?) throws {
        let listener = socket(AF_INET, stream, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) == 0 && listen(listener, 16) == 0
                    && getsockname(listener, address, &length) == 0
            }
        }
        guard isListening, let url = URL(string: "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/") else {
            throw URLError(.cannotConnectToHost)
        }
        self.listener = listener
        self.url = url
        Thread.detachNewThread { [requests] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else {
                    close(listener)
                    return
                }
                var buffer = [UInt8](repeating: 0, count: 65_536)
                guard recv(connection, &buffer, buffer.count, 0) > 0 else {
                    close(connection)
                    continue
                }
                requests.withLock { $0 += 1 }
                guard let answer else { continue }
                let bytes = Array(answer.utf8)
                var sent = 0
                while sent < bytes.count {
                    let count = bytes[sent...].withUnsafeBytes { send(connection, $0.baseAddress, $0.count, noSignal) }
                    guard count > 0 else { break }
                    sent += count
                }
                // Whoever closes with unread bytes takes back what they sent.
                shutdown(connection, Int32(SHUT_WR))
                while recv(connection, &buffer, buffer.count, 0) > 0 {}
                close(connection)
            }
        }
    }

    deinit {
        // Ends `accept`; its thread closes the socket, whose number may be another's from then on.
        shutdown(listener, Int32(SHUT_RDWR))
    }
}

#if canImport(Darwin)
    private let noSignal: Int32 = 0
#else
    private let noSignal = Int32(MSG_NOSIGNAL)
#endif
