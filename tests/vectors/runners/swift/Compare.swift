import Foundation

/// What every outcome is made of; besides, it has notices.
let outputs = ["answer", "operations", "settled", "withdraw", "request", "token", "client", "deleted", "fail"]

func shown(_ value: JSON?) -> String {
    value?.text ?? "nothing"
}

func difference(_ place: String, _ expected: JSON?, _ came: JSON?) -> String {
    "    \(place)\n      expected \(shown(expected))\n      came     \(shown(came))"
}

/// An absent field of an object is not compared; `null` stands for absence.
func compare(_ place: String, _ expected: JSON, _ came: JSON?, _ differences: inout [String]) {
    switch (expected, came) {
    case (.object(let members), .object(let fields)?):
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            let inner = "\(place).\(name)"
            switch name {
            case "headers": compareHeaders(inner, value, fields[name], &differences)
            case "body": compareBody(inner, value, fields[name], &differences)
            case "body_bytes": compare(inner, value, fields["body"], &differences)
            case "names" where fields["fail"] != nil: compareNames(inner, value, came, &differences)
            default: compare(inner, value, fields[name], &differences)
            }
        }
    case (.array(let items), .array(let others)?) where items.count == others.count:
        for (index, item) in items.enumerated() {
            compare("\(place)[\(index)]", item, others[index], &differences)
        }
    default:
        if expected != came ?? .null { differences.append(difference(place, expected, came)) }
    }
}

/// A list of pairs is the whole list, in any order; an object names some lines, `null` one that must not be there.
private func compareHeaders(_ place: String, _ expected: JSON, _ came: JSON?, _ differences: inout [String]) {
    let lines = (came?.array ?? []).map { line in (line.array ?? []).compactMap(\.string) }
    if case .object(let members) = expected {
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            let found = lines.filter { $0.first?.lowercased() == name.lowercased() }.map { JSON.string($0.last ?? "") }
            if found != (value == .null ? [] : [value]) {
                differences.append(difference("\(place).\(name)", value, .array(found)))
            }
        }
        return
    }
    func sorted(_ lines: [[String]]) -> [[String]] {
        lines.map { [$0.first?.lowercased() ?? "", $0.last ?? ""] }.sorted { $0.lexicographicallyPrecedes($1) }
    }
    let whole = (expected.array ?? []).map { line in (line.array ?? []).compactMap(\.string) }
    if sorted(whole) != sorted(lines) { differences.append(difference(place, expected, came)) }
}

/// Neither the order of a form's fields nor the choice between `.` and `%2E` means anything.
private func compareBody(_ place: String, _ expected: JSON, _ came: JSON?, _ differences: inout [String]) {
    let isSame: Bool
    if expected == .null {
        isSame = came == nil
    } else if let expected = expected.string, let came = came?.string {
        // Fields of one name keep their order: the sort is by the name, then by the place.
        func fields(_ form: String) -> [[String]] {
            formFields(form).enumerated().sorted { ($0.element.name, $0.offset) < ($1.element.name, $1.offset) }
                .map { [$0.element.name, ordered($0.element.value)] }
        }
        isSame = fields(expected) == fields(came)
    } else {
        isSame = false
    }
    if !isSame { differences.append(difference(place, expected, came)) }
}

/// JSON that is a field's value (RFC 9396) with its members in one order: this runner's objects have none, and JSON's mean
/// nothing by theirs.
private func ordered(_ value: String) -> String {
    guard value.hasPrefix("[") || value.hasPrefix("{") else { return value }
    return (try? JSON(parsing: Data(value.utf8)))?.text ?? value
}

/// An error's words are no contract, but what they name is.
private func compareNames(_ place: String, _ expected: JSON, _ failure: JSON?, _ differences: inout [String]) {
    let words = "\(failure?["message"]?.string ?? ""): \(failure?["hint"]?.string ?? "")"
    if expected.string.map({ words.contains($0) }) != true {
        differences.append(difference(place, expected, .string(words)))
    }
}

/// The fields of a form or a query (`application/x-www-form-urlencoded`).
func formFields(_ form: String) -> [(name: String, value: String)] {
    func decoded(_ text: Substring) -> String {
        let spaced = text.replacing("+", with: " ")
        return String(spaced).removingPercentEncoding ?? String(spaced)
    }
    return form.split(separator: "&").map { field in
        let parts = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        return (decoded(parts[0]), parts.count > 1 ? decoded(parts[1]) : "")
    }
}

/// What differs between what a step lists and what came of it.
func compareOutcome(_ expected: [String: JSON], _ outcome: JSON) -> [String] {
    var differences: [String] = []
    for name in outputs {
        if let value = expected[name] {
            compare(name, value, outcome[name], &differences)
        } else if let came = outcome[name] {
            differences.append(difference(name, nil, came))
        }
    }
    let listed = (expected["notices"]?.array ?? []).map { $0.string ?? $0.text }
    let came = (outcome["notices"]?.array ?? []).map { $0.string ?? $0.text }
    if !areNotices(listed, came) {
        differences.append(difference("notices", .array(listed.map(JSON.string)), .array(came.map(JSON.string))))
    }
    return differences
}

/// A notice is `code` or `code:detail`; a code alone leaves the detail open.
func areNotices(_ expected: [String], _ came: [String]) -> Bool {
    expected.count == came.count && zip(expected, came).allSatisfy { $0 == $1 || $1.hasPrefix("\($0):") }
}

/// Nothing secret may be in an error, a notice or the URL of a token request.
func leaks(_ outcome: JSON, _ canaries: [String]) -> [String] {
    var places: [(name: String, value: JSON?)] = [("fail", outcome["fail"]), ("notices", outcome["notices"])]
    if outcome["answer"]?["fail"] != nil { places.append(("answer", outcome["answer"])) }
    for operation in outcome["operations"]?.array ?? [] {
        places.append(("operations.request.url", operation["request"]?["url"]))
    }
    return canaries.flatMap { canary in
        places.filter { shown($0.value).contains(canary) }.map {
            "    \($0.name)\n      shows the secret `\(canary)`: \(shown($0.value))"
        }
    }
}
