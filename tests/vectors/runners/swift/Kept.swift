import Foundation

/// What is kept from one step for a later one.
struct Kept {
    private var values: [String: String] = [:]

    mutating func keep(_ keep: JSON, from outcome: JSON) throws {
        guard case .object(let names) = keep else { throw Problem("  `keep` must be an object") }
        for (name, pointer) in names {
            let parts = (pointer.string ?? "").split(separator: "?", maxSplits: 1)
            guard let path = parts.first else { throw Problem("  `\(name)` needs a pointer") }
            var found: JSON? = outcome
            for part in path.dropFirst().split(separator: "/") {
                if let items = found?.array {
                    found = Int(part).flatMap { items.indices.contains($0) ? items[$0] : nil }
                } else {
                    found = found?[String(part)]
                }
            }
            guard var text = found?.string else { throw Problem("  nothing to keep at `\(path)` in \(outcome.text)") }
            if parts.count > 1 {
                let query = text.firstIndex(of: "?").map { String(text[text.index(after: $0)...]) } ?? text
                guard let field = formFields(query).first(where: { $0.name == parts[1] }) else {
                    throw Problem("  `\(name)`: no such field")
                }
                text = field.value
            }
            values[name] = text
        }
    }

    func fill(_ value: JSON) -> JSON {
        if values.isEmpty { return value }
        switch value {
        case .string(let text):
            return .string(
                values.reduce(text) { text, kept in text.replacingOccurrences(of: "{\(kept.key)}", with: kept.value) })
        case .array(let items): return .array(items.map(fill))
        case .object(let members): return .object(members.mapValues(fill))
        default: return value
        }
    }

    func check(_ checks: JSON) throws {
        guard let checks = checks.array else { throw Problem("  `check` must be a list") }
        for check in checks {
            var fields = try Fields("a check", check)
            guard let name = try fields.string("value") else { throw Problem("  a check needs a `value`") }
            let value = try get(name)
            if let length = fields.take("length") {
                let bounds = (length.array ?? []).compactMap(\.integer)
                guard bounds.count == 2 else { throw Problem("  `length` must be a list of two integers") }
                let characters = value.unicodeScalars.count
                if characters < bounds[0] || characters > bounds[1] {
                    throw Problem("  `\(name)` has \(characters) characters")
                }
            }
            if let alphabet = try fields.string("alphabet"),
                try !value.unicodeScalars.allSatisfy(Kept.alphabet(alphabet))
            {
                throw Problem("  `\(name)` leaves its alphabet, \(alphabet)")
            }
            if let verifier = try fields.string("s256_of"), try value != s256(get(verifier)) {
                throw Problem("  `\(name)` is not the S256 challenge of `\(verifier)`")
            }
            if let other = try fields.string("differs_from"), try value == get(other) {
                throw Problem("  `\(name)` and `\(other)` are the same")
            }
            if let twin = try fields.string("same_as"), try value != get(twin) {
                throw Problem("  `\(name)` and `\(twin)` are not the same")
            }
            if let text = try fields.string("without"), value.contains(text) {
                throw Problem("  `\(name)` contains `\(text)`")
            }
            try fields.end()
        }
    }

    private func get(_ name: String) throws -> String {
        guard let value = values[name] else { throw Problem("  nothing was kept as `\(name)`") }
        return value
    }

    private static func alphabet(_ name: String) throws -> (Unicode.Scalar) -> Bool {
        let isAlphanumeric = { (scalar: Unicode.Scalar) in
            scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
        }
        switch name {
        case "vschar": return { (0x20...0x7e).contains($0.value) }
        case "unreserved": return { isAlphanumeric($0) || "-._~".unicodeScalars.contains($0) }
        case "base64url": return { isAlphanumeric($0) || "-_".unicodeScalars.contains($0) }
        default: throw Problem("  the alphabet `\(name)` is not understood")
        }
    }
}
