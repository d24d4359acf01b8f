// Sends one request. ../with does the same with a token on it.
import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

let request = URLRequest(url: URL(string: CommandLine.arguments[1])!)
let (data, _) = try await URLSession(configuration: .ephemeral).data(for: request)
print(data.count)
