import XCTest

@testable import Remint

final class RedactionTests: XCTestCase {
}
