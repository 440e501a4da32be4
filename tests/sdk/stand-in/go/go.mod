module github.com/scalekit-inc/scalekit-sdk-go/v2

go 1.24.0

require (
	connectrpc.com/connect v1.16.2
	github.com/go-jose/go-jose/v4 v4.1.4
	google.golang.org/protobuf v1.35.2
)
