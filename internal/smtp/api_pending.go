package smtp

import (
	"context"
	"crypto/tls"
	"net"

	"lazaret/internal/errs"
)

var errPending = errs.New(errs.Internal, "not here yet")

type command struct{}

func (s *Server) prepare() error { return nil }

// Serve speaks with one peer until the end and closes the connection. obs may be nil.
func (s *Server) Serve(ctx context.Context, conn net.Conn, sess Session, obs Observer) (End, error) {
	return EndLost, errPending
}

// NewClient makes a client of an open connection.
func NewClient(conn net.Conn, cfg ClientConfig) *Client { return &Client{conn: conn, cfg: cfg} }

// Greet reads the greeting.
func (c *Client) Greet(ctx context.Context) (Reply, error) { return Reply{}, errPending }

// Hello says EHLO, and HELO when that is not understood.
func (c *Client) Hello(ctx context.Context, name string) (Extensions, Reply, error) {
	return Extensions{}, Reply{}, errPending
}

// StartTLS turns the connection to TLS. A negative reply is a *ReplyError.
func (c *Client) StartTLS(ctx context.Context, cfg *tls.Config) (tls.ConnectionState, error) {
	return tls.ConnectionState{}, errPending
}

// Send sends one message.
func (c *Client) Send(ctx context.Context, t *Transaction) (Result, error) {
	return Result{}, errPending
}

// Reset says RSET.
func (c *Client) Reset(ctx context.Context) error { return errPending }

// Quit says QUIT, waits for the reply and closes.
func (c *Client) Quit(ctx context.Context) error { return errPending }

// Close closes the connection at once.
func (c *Client) Close() error { return c.conn.Close() }

// Closing reports whether the peer said 421.
func (c *Client) Closing() bool { return false }
