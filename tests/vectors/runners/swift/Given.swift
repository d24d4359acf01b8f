import Foundation
import RemintCore

/// What a vector sets: the options of the client, both clocks' starting points, and the entropy.
struct Given {
    let options: [String: JSON]
    /// The options of those processes that have others.
    let processes: [String: [String: JSON]]
    let start: Now
    let entropy: Data

    init(_ value: JSON) throws {
        var fields = try Fields("`given`", value)
        var common = try Given.members(fields.take("options"), "`options`")
        if let profile = fields.take("profile") { common["profile"] = profile }
        options = Given.complete(common)
        processes = try Given.members(fields.take("processes"), "`processes`").mapValues { own in
            Given.complete(common.merging(try Given.members(own, "a process")) { _, own in own })
        }
        start = Now(wall: try fields.integer("wall0") ?? 1_700_000_000_000, boot: try fields.integer("boot0") ?? 0)
        entropy = try Given.entropy(fields.string("entropy") ?? "zeros")
        try fields.end()
    }

    /// The options of what registers clients: there is no client yet.
    var registrar: [String: JSON] { options.filter { $0.key != "client_id" && $0.key != "client_secret" } }

    /// `at` moves both clocks from where they began, `wall` and `boot` set one.
    func clocks(_ fields: inout Fields) throws -> Now {
        let at = try fields.integer("at") ?? 0
        return Now(
            wall: try fields.integer("wall") ?? start.wall + at, boot: try fields.integer("boot") ?? start.boot + at)
    }

    /// `zeros`, or up to 64 hexadecimal digits with zeros behind them.
    static func entropy(_ text: String) throws -> Data {
        if text == "zeros" { return Data(count: 32) }
        let digits = Array(text)
        guard digits.count <= 64, digits.count.isMultiple(of: 2) else {
            throw Problem("  the entropy `\(text)` is not understood")
        }
        var bytes = Data()
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard digits[index].isHexDigit, let byte = UInt8(String(digits[index...index + 1]), radix: 16) else {
                throw Problem("  the entropy `\(text)` is not understood")
            }
            bytes.append(byte)
        }
        return bytes + Data(count: 32 - bytes.count)
    }

    private static func members(_ value: JSON?, _ what: String) throws -> [String: JSON] {
        guard let value else { return [:] }
        guard case .object(let members) = value else { throw Problem("  \(what) must be an object") }
        return members
    }

    /// What nearly every client needs is not written in every vector; `null` takes it away.
    private static func complete(_ given: [String: JSON]) -> [String: JSON] {
        var options = given
        if options["client_id"] == nil { options["client_id"] = "id" }
        let hasNoSecret =
            options["client_auth"] == "none" || options["client_secret_provided"] != nil || options["api_token"] != nil
        if !hasNoSecret && options["client_secret"] == nil { options["client_secret"] = "secret" }
        return options.filter { $0.value != .null }
    }
}

/// An HTTP answer as a vector writes it.
struct WireAnswer {
    let status: Int32
    let headers: [(name: String, value: String)]
    let body: Data

    /// `json`, `text` or `base64` is the body. With `json` comes its media type, unless `headers` has one.
    init(_ fields: inout Fields) throws {
        guard let number = try fields.integer("status"), let status = Int32(exactly: number) else {
            throw Problem("  an answer needs a `status`")
        }
        var headers = try lines(fields.take("headers"))
        let bodies = fields.some(["json", "text", "base64"])
        if bodies.count > 1 { throw Problem("  an answer has one of `json`, `text` and `base64`") }
        if let json = bodies["json"] {
            if !headers.contains(where: { $0.name.lowercased() == "content-type" }) {
                headers.append(("content-type", "application/json"))
            }
            body = Data(json.text.utf8)
        } else if let text = bodies["text"] {
            guard let text = text.string else { throw Problem("  `text` must be a string") }
            body = Data(text.utf8)
        } else if let base64 = bodies["base64"] {
            guard let bytes = base64.string.flatMap({ Data(base64Encoded: $0) }) else {
                throw Problem("  `base64` is not base64")
            }
            body = bytes
        } else {
            body = Data()
        }
        (self.status, self.headers) = (status, headers)
    }
}

/// Header lines, as an object or a list of pairs.
func lines(_ value: JSON?) throws -> [(name: String, value: String)] {
    switch value {
    case nil: return []
    case .object(let members)?:
        return try members.sorted { $0.key < $1.key }.map { name, value in
            guard let text = value.string else { throw Problem("  the header `\(name)` must be a string") }
            return (name, text)
        }
    case .array(let pairs)?:
        return try pairs.map { pair in
            let parts = (pair.array ?? []).compactMap(\.string)
            guard parts.count == 2 else { throw Problem("  a header line must be a name and a value") }
            return (parts[0], parts[1])
        }
    default: throw Problem("  `headers` must be an object or a list of pairs")
    }
}

private let words = [
    "ask", "start", "renewed", "cancel", "received", "failed", "provided", "signed", "verified", "stored", "tick", "attach",
    "answered",
    "changed",
    "invalidate", "forked", "close", "drop", "build", "registration", "finish", "simulate", "event",
]

/// The event of a step.
func word(of step: JSON) throws -> String {
    let found = words.filter { step[$0] != nil }
    guard found.count == 1 else { throw Problem("  a step has exactly one of these: \(words.joined(separator: ", "))") }
    return found[0]
}
