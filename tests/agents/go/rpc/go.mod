module agents/rpc

go 1.26

require (
	code.gitea.io/actions-proto-go v0.4.1
	connectrpc.com/connect v1.20.0
	go.woodpecker-ci.org/woodpecker v1.0.5
	google.golang.org/grpc v1.59.0
	google.golang.org/protobuf v1.36.11
)

require (
	github.com/golang/protobuf v1.5.3 // indirect
	golang.org/x/net v0.17.0 // indirect
	golang.org/x/sys v0.13.0 // indirect
	golang.org/x/text v0.13.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20231030173426-d783a09b4405 // indirect
)

// The proxy knows this release by the repository's path; its go.mod declares the other.
replace go.woodpecker-ci.org/woodpecker => github.com/woodpecker-ci/woodpecker v1.0.5

tool agents/rpc/gitea-server // gitea-server

tool agents/rpc/woodpecker-server // woodpecker-server
