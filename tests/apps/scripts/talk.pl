# Perl's ways to use sockets: talk.pl serve|talk PORT. A process per connection here, IO::Select there; Perl's own buffers.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Digest::SHA qw(sha256_hex);

my ($role, $port) = @ARGV;
$| = 1;

if ($role eq 'serve') {
    $SIG{CHLD} = 'IGNORE';
    my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 10, ReuseAddr => 1)
        or die "listen: $!";
    while (my $one = $server->accept) {
        if (fork == 0) {
            close $server;
            $one->autoflush(1);
            while (my $line = <$one>) {
                chomp $line;
                print $one scalar(reverse $line), "\n";
            }
            exit 0;
        }
        close $one;
    }
}

my @ones = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "connect: $!" } 1 .. 4;
my $input = IO::Select->new(\*STDIN);
do {
    for my $i (0 .. $#ones) {
        my $one = $ones[$i];
        print $one "line $i\n";
        die 'another line' unless <$one> eq "$i enil\n";
    }
} until $input->can_read(0);
my $select = IO::Select->new(@ones);
my %text;
for my $one (@ones) {
    syswrite $one, "line $_\n" x 3 for 1 .. 2000;
    $text{$one} = '';
}
my $left = 4 * 6000;
while ($left > 0) {
    for my $one ($select->can_read) {
        my $got = sysread $one, my $part, 3000;
        die "read: $!" unless $got;
        $left -= $part =~ tr/\n//;
        $text{$one} .= $part;
    }
}
print sha256_hex($text{$_}), "\n" for @ones;
for my $one (@ones) {
    shutdown $one, 1;
    my $got = sysread $one, my $part, 10;
    print "end $got\n";
    close $one;
}
