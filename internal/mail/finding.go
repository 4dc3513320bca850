package mail

// Finding is what the engines of a gateway say of a message that is held, were
// it released now.
type Finding struct {
	Harmless bool   // each engine that its policy wants finished and found nothing; one was asked at least
	Text     string // what came out, in words; printable, one line
}
