import XCTest

@testable import Remint

/// What Apple's Security framework gives signatures and RSA keys in.
final class DERTests: XCTestCase {
    func testTwoIntegersComeWithoutTheZerosBeforeThem() {
        var der = DER([0x30, 0x08, 0x02, 0x02, 0x00, 0xff, 0x02, 0x02, 0x01, 0x00])
        XCTAssertTrue(der.enter())
        XCTAssertEqual(der.integer(), [0xff])
        XCTAssertEqual(der.integer(), [0x01, 0x00])
        XCTAssertNil(der.integer())
    }

    func testALongLengthIsRead() {
        let number = [UInt8](repeating: 7, count: 256)
        var der = DER([0x30, 0x82, 0x01, 0x04, 0x02, 0x82, 0x01, 0x00] + number)
        XCTAssertTrue(der.enter())
        XCTAssertEqual(der.integer(), number)
    }

    func testWhatIsBrokenIsNothing() {
        for bytes: [UInt8] in [
            [], [0x31, 0x00], [0x30], [0x30, 0x01], [0x30, 0x80], [0x30, 0x83, 0, 0, 0], [0x30, 0x81],
        ] {
            var der = DER(bytes)
            XCTAssertFalse(der.enter(), "\(bytes)")
        }
        for bytes: [UInt8] in [[0x02, 0x00], [0x02, 0x02, 0x01], [0x03, 0x01, 0x01], [0x02, 0x82, 0x01]] {
            var der = DER(bytes)
            XCTAssertNil(der.integer(), "\(bytes)")
        }
    }
}
