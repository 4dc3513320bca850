// Package quarantine holds what must not be delivered until somebody, or the
// clock, decides: quarantines, messages, the ways out of them.
//
// It is pure domain: it knows neither SQL nor files nor the wire. Who keeps the
// records (Store), the content (Contents) and the outgoing mail (Sender) is
// plugged in by the root. All callers, whatever they speak, come through
// Service, and each call says on whose behalf it is made.
//
// It promises:
//   - A message key is stored once; a repeat gets the number of the first time,
//     even when the message was deleted meanwhile (P2).
//   - A message in several quarantines is one message. It is delivered only when
//     it was released from all of them, and never when it was deleted from any.
//   - A release is a durable intent before its first byte is sent.
//   - Two who decide at the same instant are put in order by the record's
//     version; the one who came second changes nothing and is told who was first.
package quarantine
