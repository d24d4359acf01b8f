import Foundation

/// A file of vectors: its name below the directory, and where it is.
struct VectorFile {
    let name: String
    let url: URL

    /// All below a directory, save what describes the suite itself.
    static func all(below directory: URL, prefix: String = "") throws -> [VectorFile] {
        var files: [VectorFile] = []
        for name in try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() {
            let url = directory.appendingPathComponent(name)
            var isDirectory: ObjCBool = false
            guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isDirectory) else { continue }
            if isDirectory.boolValue {
                if ["runners", "node_modules"].contains(name) || name.hasPrefix(".") { continue }
                files += try all(below: url, prefix: "\(prefix)\(name)/")
            } else if name.hasSuffix(".json") && !["index.json", "schema.json"].contains(name) {
                files.append(VectorFile(name: prefix + name, url: url))
            }
        }
        return files
    }

    func vectors() throws -> [JSON] {
        let content: JSON
        do {
            content = try JSON(parsing: Data(contentsOf: url))
        } catch {
            throw Problem("  is not JSON: \(error)")
        }
        if let vectors = content.array { return vectors }
        guard case .object(let members) = content else {
            throw Problem("  holds neither a vector nor a list of vectors")
        }
        guard members["vectors"] != nil else { return [content] }
        var fields = try Fields("a file", content)
        _ = fields.some(["about", "$schema"])
        guard let vectors = try fields.need("vectors").array else { throw Problem("  `vectors` must be a list") }
        try fields.end()
        return vectors
    }
}
