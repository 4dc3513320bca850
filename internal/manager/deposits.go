package manager

import (
	"context"
	"crypto/tls"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/appliance"
	"lazaret/internal/cpq"
	"lazaret/internal/listener"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// deposits takes quarantined mail from gateways. A gateway may add its own
// mail and nothing else (P4, register D5).
type deposits struct{ m *Manager }

// NextMID implements listener.CPQSink.
func (d deposits) NextMID() mail.MID { return d.m.store.NextMID() }

// Ready implements listener.CPQSink.
func (d deposits) Ready(size int64) error { return d.m.pvo.Ready(size) }

// Peer implements listener.CPQSink.
func (d deposits) Peer(state tls.ConnectionState) (string, error) { return d.m.PeerOf(state) }

// Accept implements listener.CPQSink; that the key is the peer's own the
// listener has checked.
func (d deposits) Accept(_ context.Context, peer string, m cpq.Metadata) error {
	if m.Deposit == nil {
		return cpq.ReplyNoReleases().Err()
	}
	if err := d.m.StillPeer(peer); err != nil {
		return err
	}
	return d.over(peer, d.m.quota.Take(peer, m.Deposit.Size, d.m.quotaLimits(), d.m.Now()))
}

// Enter implements listener.PeerGate.
func (d deposits) Enter(peer string) error {
	return d.over(peer, d.m.quota.Enter(peer, d.m.quotaLimits()))
}

// Leave implements listener.PeerGate.
func (d deposits) Leave(peer string) { d.m.quota.Leave(peer) }

// over raises the alarm about a gateway that brings more than its quota, once
// an hour. Its mail waits there.
func (d deposits) over(peer string, err error) error {
	if err != nil && d.m.alarms.Take(peer, 1, time.Hour, d.m.Now()) {
		d.m.Alert(appliance.AlertCPQ, "gateway "+err.Error()+"; the rest waits there")
	}
	return err
}

func (m *Manager) quotaLimits() access.QuotaLimits {
	q := m.Config.Committed().GatewayQuota.Effective()
	return access.QuotaLimits{Messages: q.Messages, Bytes: q.Bytes, Open: q.Open}
}

// Take implements listener.CPQSink: durable when there is no error.
func (d deposits) Take(ctx context.Context, m *listener.Message) (mail.MID, error) {
	in := m.Metadata.Deposit
	mid, _, err := d.m.quarantine.Ingest(ctx, quarantine.Deposit{
		MID: m.MID, Key: in.Key, Gateway: in.GatewaySerial, GatewayName: in.GatewayName, GatewayMID: in.GatewayMID, Accepted: in.Accepted,
		Envelope: m.Envelope, Origin: origin(m.Origin, in), Policy: in.Policy, Direction: string(in.Direction), Size: in.Size, Hash: in.Hash,
		Subject: in.Subject, Prepend: []byte(in.Prepend), Placements: in.Placements,
	}, m.Content)
	return mid, err
}

// origin is where the gateway got the message from, not where we did.
func origin(here mail.Origin, in *cpq.Deposit) mail.Origin {
	return mail.Origin{
		ICID: here.ICID, Listener: in.Origin.Listener, RemoteIP: in.Origin.RemoteIP, RemoteHost: in.Origin.RemoteHost, Helo: in.Origin.Helo,
		SenderGroup: in.Origin.SenderGroup, Protocol: here.Protocol, Relay: in.Direction == cpq.Outbound,
	}
}

// NextMID gives the number for a message that is put in by hand.
func (m *Manager) NextMID() mail.MID { return m.store.NextMID() }

// LastMID gives the last number given.
func (m *Manager) LastMID() mail.MID { return m.store.LastMID() }

// Quarantine is the service behind the commands, for programs that work on a
// manager which is not running.
func (m *Manager) Quarantine() *quarantine.Service { return m.quarantine }
