package spool

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// A record is: version, body, CRC-32C over key, version and body. The key is
// in the checksum so that a record in the wrong place is damaged. Fields are
// only ever added at the end, with a new version.
const (
	recordVersion  = 8
	seventhVersion = 7 // without Item.Route and Copied, Sent.Route
	sixthVersion   = 6 // without Account.Again
	fifthVersion   = 5 // without Placement.Keep
	fourthVersion  = 4 // without Placement.Matched
	thirdVersion   = 3 // without Item.Judged, Release.Held and Step, Sent.Placements, Account.Step
	secondVersion  = 2 // without Recipient.Code, Status, Remote, Last
	firstVersion   = 1 // without mail.Params but EightBit, without mail.RcptParams, Origin.User, Recipient.Warned
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers a key and the parts of its value.
func checksum(key []byte, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// seal appends the checksum.
func seal(key, value []byte) []byte {
	return binary.LittleEndian.AppendUint32(value, checksum(key, value))
}

// unseal checks and takes off the checksum.
func unseal(key, value []byte) ([]byte, error) {
	n := len(value) - 4
	if n < 0 || binary.LittleEndian.Uint32(value[n:]) != checksum(key, value[:n]) {
		return nil, errs.New(errs.Damaged, "checksum of %c %x is wrong", key[0], key[1:])
	}
	return value[:n], nil
}

// encoder appends fields.
type encoder struct{ b []byte }

func (e *encoder) uint(v uint64)   { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)     { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) bytes(v []byte)  { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) string(v string) { e.uint(uint64(len(v))); e.b = append(e.b, v...) }

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.int(0)
		return
	}
	e.int(t.UnixNano())
}

func (e *encoder) address(a mail.Address) { e.string(a.Local); e.string(a.Domain) }

func (e *encoder) dest(d queue.Dest) { e.string(d.Name); e.string(d.Lane) }

// decoder reads fields; the first thing wrong makes the rest zero and stays.
type decoder struct {
	b       []byte
	text    string // the whole, copied once when the first text is read: all texts are parts of it
	bad     bool
	names   map[string]string // lean: texts are read over, but names of destinations, each kept here once
	version byte              // of the entry, for those that need it
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) string() string {
	n := d.uint()
	if d.names != nil {
		d.take(n)
		return ""
	}
	if n == 0 || n > uint64(len(d.b)) {
		d.take(n)
		return ""
	}
	if len(d.text) < len(d.b) {
		d.text = string(d.b)
	}
	at := len(d.text) - len(d.b)
	d.b = d.b[n:]
	return d.text[at : at+int(n)]
}

func (d *decoder) bytes() []byte {
	if v := d.take(d.uint()); len(v) > 0 && d.names == nil {
		return append([]byte(nil), v...)
	}
	return nil
}

func (d *decoder) bool() bool {
	v := d.take(1)
	return len(v) == 1 && v[0] != 0
}

func (d *decoder) time() time.Time {
	if n := d.int(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

func (d *decoder) address() mail.Address { return mail.Address{Local: d.string(), Domain: d.string()} }

func (d *decoder) dest() queue.Dest { return queue.Dest{Name: d.name(), Lane: d.name()} }

// name reads a text that few records differ in.
func (d *decoder) name() string {
	if d.names == nil {
		return d.string()
	}
	b := d.take(d.uint())
	s, ok := d.names[string(b)]
	if !ok {
		if len(d.names) >= maxNames {
			clear(d.names)
		}
		s = string(b)
		d.names[s] = s
	}
	return s
}

// maxNames bounds the names that one scan remembers.
const maxNames = 100_000

// count reads a number of elements, each of which takes at least min bytes.
func (d *decoder) count(min int) int {
	n := d.uint()
	if n > uint64(len(d.b)/min) {
		d.fail()
		return 0
	}
	return int(n)
}

// appendRecord encodes an item for its key.
func appendRecord(b, key []byte, it *queue.Item) []byte {
	e := encoder{append(b, recordVersion)}
	e.b = append(e.b, byte(it.State))
	e.string(string(it.Key))
	e.address(it.From)
	e.bool(it.EightBit)
	e.uint(uint64(it.Size))
	e.b = append(e.b, it.Hash[:]...)
	e.time(it.Accepted)
	e.origin(&it.Origin)
	e.string(it.Subject)
	e.string(it.MessageID)
	e.bytes(it.Prepend)
	e.placements(it.Placements)
	e.bool(it.Release != nil)
	if r := it.Release; r != nil {
		e.string(string(r.Action))
		e.string(r.Gateway)
		e.uint(uint64(r.ManagerMID))
		e.uint(uint64(r.GatewayMID))
		e.string(r.Cause)
		e.string(r.By)
	}
	e.uint(uint64(it.Tries))
	e.uint(uint64(len(it.Recipients)))
	for i := range it.Recipients {
		r := &it.Recipients[i]
		e.address(r.Address)
		e.dest(r.Dest)
		e.b = append(e.b, byte(r.State))
		e.uint(uint64(r.Attempts))
		e.time(r.Next)
		e.string(r.Reply)
	}
	e.params(&it.Params)
	e.string(it.Origin.User)
	for i := range it.Recipients {
		e.rcptParams(&it.Recipients[i].RcptParams)
		e.uint(uint64(it.Recipients[i].Warned))
	}
	for i := range it.Recipients {
		e.answer(&it.Recipients[i])
	}
	e.judgement(&it.Judged)
	if r := it.Release; r != nil {
		e.placements(r.Held)
		e.string(r.Step)
	}
	for i := range it.Placements {
		e.matched(it.Placements[i].Matched)
	}
	for i := range it.Placements {
		e.uint(uint64(it.Placements[i].Keep / time.Second))
	}
	e.route(&it.Route)
	e.bool(it.Copied)
	return seal(key, e.b)
}

// route writes what version 8 added.
func (e *encoder) route(r *mail.Route) {
	e.string(r.Host)
	e.string(r.Interface)
	e.string(r.Profile)
}

func (d *decoder) route() mail.Route {
	return mail.Route{Host: d.string(), Interface: d.string(), Profile: d.string()}
}

func (e *encoder) placements(ps []mail.Placement) {
	e.uint(uint64(len(ps)))
	for _, p := range ps {
		e.string(p.Quarantine)
		e.string(p.Reason)
	}
}

func (d *decoder) placements() (ps []mail.Placement) {
	for range d.count(2) {
		ps = append(ps, mail.Placement{Quarantine: d.string(), Reason: d.string()})
	}
	return ps
}

func (e *encoder) judgement(j *mail.Judgement) {
	e.string(j.Policy)
	e.uint(uint64(len(j.Seen)))
	for _, s := range j.Seen {
		e.uint(uint64(s.Verdict))
		e.string(s.Name)
	}
	e.uint(uint64(len(j.Spam)))
	for _, v := range j.Spam {
		e.uint(uint64(v))
	}
}

func (d *decoder) judgement(j *mail.Judgement) {
	j.Policy = d.string()
	for range d.count(2) {
		j.Seen = append(j.Seen, mail.Seen{Verdict: mail.Verdict(d.uint()), Name: d.string()})
	}
	for range d.count(1) {
		j.Spam = append(j.Spam, mail.SpamVerdict(d.uint()))
	}
}

// answer writes what version 3 added: the rest of the last reply.
func (e *encoder) answer(r *queue.Recipient) {
	e.uint(uint64(r.Code))
	e.string(r.Status)
	e.string(r.Remote)
	e.time(r.Last)
}

func (d *decoder) answer(r *queue.Recipient) {
	r.Code, r.Status, r.Remote, r.Last = int(d.uint()), d.string(), d.string(), d.time()
}

// matched writes what version 5 added.
func (e *encoder) matched(all []mail.Matched) {
	e.uint(uint64(len(all)))
	for _, m := range all {
		e.string(m.Rule)
		e.string(m.Part)
		e.string(m.Text)
	}
}

func (d *decoder) matched() (all []mail.Matched) {
	for range d.count(3) {
		all = append(all, mail.Matched{Rule: d.string(), Part: d.string(), Text: d.string()})
	}
	return all
}

// params writes what version 1 did not have of them.
func (e *encoder) params(p *mail.Params) {
	e.bool(p.Binary)
	e.bool(p.UTF8)
	e.bool(p.RequireTLS)
	e.string(string(p.Ret))
	e.string(p.EnvID)
}

func (d *decoder) params(p *mail.Params) {
	p.Binary, p.UTF8, p.RequireTLS = d.bool(), d.bool(), d.bool()
	p.Ret, p.EnvID = mail.Ret(d.string()), d.string()
}

func (e *encoder) rcptParams(p *mail.RcptParams) {
	e.uint(uint64(p.Notify))
	e.string(p.ORCPT)
}

func (d *decoder) rcptParams(p *mail.RcptParams) {
	p.Notify, p.ORCPT = mail.Notify(d.uint()), d.string()
}

func (e *encoder) origin(o *mail.Origin) {
	e.uint(uint64(o.ICID))
	e.string(o.Listener)
	e.string(o.Interface)
	ip, _ := o.RemoteIP.MarshalBinary() // never fails
	e.bytes(ip)
	e.string(o.RemoteHost)
	e.string(o.Helo)
	e.string(o.Protocol)
	e.string(o.SenderGroup)
	e.string(o.Policy)
	e.bool(o.Relay)
}

func (d *decoder) origin(o *mail.Origin) {
	o.ICID = mail.ICID(d.uint())
	o.Listener = d.string()
	o.Interface = d.string()
	if o.RemoteIP.UnmarshalBinary(d.take(d.uint())) != nil {
		o.RemoteIP = netip.Addr{}
		d.fail()
	}
	o.RemoteHost = d.string()
	o.Helo = d.string()
	o.Protocol = d.string()
	o.SenderGroup = d.string()
	o.Policy = d.string()
	o.Relay = d.bool()
}

// decodeRecord reads what appendRecord wrote, or says errs.Damaged.
func decodeRecord(key, value []byte) (*queue.Item, error) {
	return new(decoder).record(key, value, new(queue.Item))
}

// record reads a whole record into it. A lean decoder leaves out the texts.
func (d *decoder) record(key, value []byte, it *queue.Item) (*queue.Item, error) {
	mid, err := keyMID(key)
	if err != nil {
		return nil, err
	}
	body, err := unseal(key, value)
	if err != nil {
		return nil, err
	}
	if len(body) < 2 || body[0] < firstVersion || body[0] > recordVersion {
		return nil, errs.New(errs.Damaged, "record of MID %d has an unknown version", mid)
	}
	*it = queue.Item{MID: mid, State: queue.MessageState(body[1]), Recipients: it.Recipients[:0]}
	d.b, d.text, d.bad = body[2:], "", false
	it.Key = mail.Key(d.string())
	it.From = d.address()
	it.EightBit = d.bool()
	it.Size = int64(d.uint())
	copy(it.Hash[:], d.take(uint64(len(it.Hash))))
	it.Accepted = d.time()
	d.origin(&it.Origin)
	it.Subject = d.string()
	it.MessageID = d.string()
	it.Prepend = d.bytes()
	d.rest(it)
	if body[0] > firstVersion {
		d.second(it)
	}
	if body[0] > secondVersion {
		for i := range it.Recipients {
			d.answer(&it.Recipients[i])
		}
	}
	if body[0] > thirdVersion {
		d.judgement(&it.Judged)
		if r := it.Release; r != nil {
			r.Held, r.Step = d.placements(), d.string()
		}
	}
	if body[0] > fourthVersion {
		for i := range it.Placements {
			it.Placements[i].Matched = d.matched()
		}
	}
	if body[0] > fifthVersion {
		for i := range it.Placements {
			it.Placements[i].Keep = time.Duration(d.uint()) * time.Second
		}
	}
	if body[0] > seventhVersion {
		it.Route, it.Copied = d.route(), d.bool()
	}
	if d.bad || len(d.b) > 0 || it.Size < 0 {
		return nil, errs.New(errs.Damaged, "record of MID %d has a wrong form", mid)
	}
	return it, nil
}

// rest reads the lists at the end of a record.
func (d *decoder) rest(it *queue.Item) {
	it.Placements = d.placements()
	if d.bool() {
		it.Release = &queue.Release{Action: mail.ActionKey(d.string()), Gateway: d.string(),
			ManagerMID: mail.MID(d.uint()), GatewayMID: mail.MID(d.uint()), Cause: d.string(), By: d.string()}
	}
	it.Tries = int(d.uint())
	n := d.count(8)
	if n > cap(it.Recipients) {
		it.Recipients = make([]queue.Recipient, n)
	}
	it.Recipients = it.Recipients[:n]
	for i := range it.Recipients {
		r := &it.Recipients[i]
		*r = queue.Recipient{RID: mail.RID(i)}
		r.Address = d.address()
		r.Dest = d.dest()
		if s := d.take(1); len(s) == 1 {
			r.State = queue.RecipientState(s[0])
		}
		r.Attempts = int(d.uint())
		r.Next = d.time()
		r.Reply = d.string()
	}
}

// second reads what version 2 added.
func (d *decoder) second(it *queue.Item) {
	d.params(&it.Params)
	it.Origin.User = d.string()
	for i := range it.Recipients {
		d.rcptParams(&it.Recipients[i].RcptParams)
		it.Recipients[i].Warned = int(d.uint())
	}
}
