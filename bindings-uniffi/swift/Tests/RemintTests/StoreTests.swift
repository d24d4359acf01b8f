import Foundation
import XCTest

@testable import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// What is shared: the store in a folder, and what the client makes of a store.
final class StoreTests: XCTestCase {
    private let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY"
    private let long = Duration.seconds(60)
    private var folder = ""

    override func setUp() {
        folder = NSTemporaryDirectory() + "/remint-store-" + UUID().uuidString
    }

    override func tearDown() {
        try? FileManager.default.removeItem(atPath: folder)
    }

    func testTheFileStoreKeepsTheContract() async throws {
        let store = try FileStore(folder)
        try await assertEqual(try await store.load(key), nil)
        try await assertEqual(
            try await store.save(key, expect: "x", record: "one", ttl: long, unlock: nil), .conflict(record: nil))
        try await assertEqual(try await store.lock(key, owner: "a", ttl: long), .locked(record: nil))
        try await assertHeld(try await store.lock(key, owner: "b", ttl: long), record: nil)
        try await assertEqual(try await store.lock(key, owner: "a", ttl: long), .locked(record: nil))
        try await assertEqual(try await store.save(key, expect: nil, record: "one", ttl: long, unlock: "a"), .saved)
        try await assertEqual(try await store.lock(key, owner: "b", ttl: long), .locked(record: "one"))
        try await assertEqual(
            try await store.save(key, expect: nil, record: "two", ttl: long, unlock: "b"), .conflict(record: "one"))
        try await assertHeld(try await store.lock(key, owner: "a", ttl: long), record: "one")
        _ = try await store.lock(key, owner: "a", ttl: .zero)
        try await assertHeld(try await store.lock(key, owner: "a", ttl: long), record: "one")
        _ = try await store.lock(key, owner: "b", ttl: .zero)
        try await assertEqual(try await store.lock(key, owner: "a", ttl: long), .locked(record: "one"))
        try await assertEqual(try await store.save(key, expect: "one", record: "two", ttl: long, unlock: "b"), .saved)
        try await assertHeld(try await store.lock(key, owner: "b", ttl: long), record: "two")
        _ = try await store.lock(key, owner: "a", ttl: .milliseconds(1))
        let isFree = try await comes {
            try await store.lock(self.key, owner: "b", ttl: self.long) == .locked(record: "two")
        }
        XCTAssertTrue(isFree)
        try await assertEqual(
            try await store.save(key, expect: "two", record: "three", ttl: .milliseconds(1), unlock: "b"), .saved)
        let isOver = try await comes { try await store.load(self.key) == nil }
        XCTAssertTrue(isOver)
        try await assertEqual(try await store.save(key, expect: nil, record: "four", ttl: long, unlock: nil), .saved)
    }

    func testTheFileStoreIsForItsOwnerAlone() async throws {
        let store = try FileStore(folder)
        _ = try await store.save(key, expect: nil, record: "t0ken", ttl: long, unlock: nil)
        for (path, mode) in [(folder, 0o700), (folder + "/" + key, 0o700), (version(1), 0o600)] {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            XCTAssertEqual((attributes[.posixPermissions] as? Int), mode, path)
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o770], ofItemAtPath: folder)
        XCTAssertThrowsError(try FileStore(folder)) { error in
            XCTAssertEqual((error as? RemintError)?.code, "invalid_option")
            XCTAssertTrue(error.localizedDescription.contains("chmod 700"), error.localizedDescription)
        }
        XCTAssertThrowsError(try FileStore(version(1)))
        do {
            _ = try await store.save("../outside", expect: nil, record: "t0ken", ttl: long, unlock: nil)
            XCTFail("a name led elsewhere")
        } catch is StoreDown {}
    }

    func testTheFileStoreReadsWhatOtherLanguagesWrite() async throws {
        let store = try FileStore(folder)
        _ = try await store.save(key, expect: nil, record: "one", ttl: long, unlock: nil)
        let text = try String(contentsOfFile: version(1), encoding: .utf8)
        XCTAssertTrue(text.contains(#""lease":null"#) && text.contains(#""record":"one""#), text)
        let theirs = #"{"expires": 9999999999999, "lease": {"owner": "b", "until": 9999999999999}, "record": "two"}"#
        try theirs.write(toFile: version(2), atomically: false, encoding: .utf8)
        try await assertEqual(try await store.load(key), "two")
        guard case .held(_, "two") = try await store.lock(key, owner: "a", ttl: long) else {
            return XCTFail("not held")
        }
    }

    func testWhatACrashLeftIsNotReadAndWhatIsTornIsShown() async throws {
        let store = try FileStore(folder)
        _ = try await store.save(key, expect: nil, record: "one", ttl: long, unlock: nil)
        try #"{"expi"#.write(toFile: folder + "/" + key + "/.tmp-x", atomically: false, encoding: .utf8)
        try await assertEqual(try await store.load(key), "one")
        try #"{"expires": 17"#.write(toFile: version(2), atomically: false, encoding: .utf8)
        try await assertEqual(try await store.load(key), #"{"expires": 17"#)
        try await assertEqual(
            try await store.save(key, expect: #"{"expires": 17"#, record: "two", ttl: long, unlock: nil), .saved)
        try await assertEqual(try await store.load(key), "two")
    }

    func testNothingIsLostBetweenTasks() async throws {
        let store = try FileStore(folder)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<8 {
                group.addTask { [key, long] in
                    for time in 0..<5 {
                        while true {
                            let stored = try await store.load(key)
                            let count = stored.flatMap { Int($0.prefix { $0 != " " }) } ?? 0
                            let next = "\(count + 1) by \(writer), \(time)"
                            let save = try await store.save(key, expect: stored, record: next, ttl: long, unlock: nil)
                            if save == .saved { break }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let stored = try await store.load(key) ?? ""
        XCTAssertTrue(stored.hasPrefix("40 "), stored)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/" + key)
        XCTAssertEqual(names.count, 16)
    }

    func testAStoresErrorIsToldAndHarmsNobody() async throws {
        struct Broken: Store {
            func load(_ key: String) throws -> String? { throw URLError(.timedOut) }
            func lock(_ key: String, owner: String, ttl: Duration) throws -> StoreLock { throw URLError(.timedOut) }
            func save(_ key: String, expect: String?, record: String, ttl: Duration, unlock: String?) throws
                -> StoreSave
            {
                throw StoreDown(URLError(.timedOut))
            }
        }
        let told = Guarded<[any Error]>([])
        let client = try wallet(FakeServer()) {
            $0.store = Broken()
            $0.onStoreError = { error in told.withLock { $0.append(error) } }
        }
        let token = try await client.token()
        XCTAssertEqual(token.accessToken, "T1")
        XCTAssertEqual(told.withLock { ($0.first as? URLError)?.code }, .timedOut)
    }

    func testChangesAreHeardUntilTheClientIsGone() async throws {
        final class Heard: Store {
            let changes = Guarded<StoreChanges?>(nil)
            let over = Guarded(0)

            func load(_ key: String) -> String? { nil }
            func lock(_ key: String, owner: String, ttl: Duration) -> StoreLock { .locked(record: nil) }
            func save(_ key: String, expect: String?, record: String, ttl: Duration, unlock: String?) -> StoreSave {
                .saved
            }

            func subscribe(_ changes: StoreChanges) async throws {
                self.changes.withLock { $0 = changes }
                changes.subscribed()
                defer { over.withLock { $0 += 1 } }
                try await Task.sleep(for: .seconds(3_600))
            }
        }
        let (closed, dropped) = (Heard(), Heard())
        let client = try wallet(FakeServer()) { $0.store = closed }
        _ = try await client.token()
        let hears = await until { closed.changes.withLock { $0 != nil } }
        XCTAssertTrue(hears)
        closed.changes.withLock { $0 }?.changed(key)
        await client.close()
        let isOver = await until { closed.over.withLock { $0 == 1 } }
        XCTAssertTrue(isOver)
        _ = try await wallet(FakeServer()) { $0.store = dropped }.token()
        let isGone = await until { dropped.over.withLock { $0 == 1 } }
        XCTAssertTrue(isGone)
    }

    private func comes(_ condition: () async throws -> Bool) async throws -> Bool {
        for _ in 0..<10_000 {
            if try await condition() { return true }
            try await Task.sleep(for: .milliseconds(1))
        }
        return false
    }

    private func version(_ number: Int) -> String {
        folder + "/" + key + "/000000000000000\(number)"
    }

    private func assertEqual<T: Equatable & Sendable>(_ found: T, _ expected: T, line: UInt = #line) async throws {
        XCTAssertEqual(found, expected, line: line)
    }

    private func assertHeld(_ lock: StoreLock, record: String?, line: UInt = #line) async throws {
        guard case .held(let retryIn, let found) = lock else { return XCTFail("\(lock)", line: line) }
        XCTAssertTrue(retryIn > .zero && retryIn <= long && found == record, line: line)
    }
}
