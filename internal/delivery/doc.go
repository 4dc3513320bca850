// Package delivery holds the couriers: what carries a message over one
// connection to the next host. The SMTP courier goes to foreign hosts by SMTP
// routes and MX; the CPQ courier goes to the manager (the.cpq.host) or back to
// a gateway (the.cpq.release.host).
//
// It is not a queue: it has no schedule, keeps no mail and never decides when
// to try again. One Run is the life of one connection; the queue starts it and
// feeds it with messages.
//
// It promises
//   - that nothing leaves but what the queue gave: the header lines to be
//     added, then the content, with CRLF line ends only;
//   - that a recipient is reported as delivered only after the final reply
//     said so, and as bounced only after a permanent reply (promise P3);
//   - that on CPQ not one byte of metadata leaves before the peer has proved
//     by its pinned certificate who it is, and has answered EHLO inside TLS;
//   - that every ending of a connection or a recipient is a line in mail_logs.
package delivery
