// Phoenix Wallet: the wallets of one client, with the scopes that are needed and no others.
import Foundation
import Program
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

await program {
    let baseURL = variable("BASE_URL") ?? "https://api.phoenixwallet.io"
    var configuration = Configuration()
    configuration.variables = ["base_url": baseURL]
    configuration.variables["token_endpoint"] = variable("TOKEN_ENDPOINT")
    configuration.allowLoopbackHTTP = true
    let wallet = try Client(
        "phoenix-wallet", clientID: variable("CLIENT_ID"), scope: ["wallets:read"], configuration: configuration
    ) {
        // It is asked at each token request: a rotated secret needs no restart.
        variable("CLIENT_SECRET") ?? ""
    }

    let (wallets, _) = try await wallet.data(for: URLRequest(url: URL(string: "\(baseURL)/v1/wallets")!))
    print(String(decoding: wallets, as: UTF8.self))
}
