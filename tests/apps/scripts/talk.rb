# Ruby's ways to use sockets: talk.rb serve|talk PORT. A thread per connection here, and IO.select there.
require 'socket'
require 'digest'

role, port = ARGV[0], ARGV[1].to_i

def pattern(size, seed)
  block = Digest::SHA256.digest(seed.to_s)
  block * (size / block.size)
end

if role == 'serve'
  server = TCPServer.new('127.0.0.1', port)
  loop do
    Thread.new(server.accept) do |one|
      # Lines are told apart; what follows the word BULK is not.
      while (line = one.gets)
        if line.start_with?('BULK')
          size = line.split[1].to_i
          one.write(one.read(size))
        else
          one.puts(line.chomp.reverse)
        end
      end
      one.close
    end
  end
end

ones = 4.times.map { TCPSocket.new('127.0.0.1', port) }
loop do
  ones.each_with_index do |one, i|
    one.puts("line #{i}")
    raise 'another line' unless one.gets == "#{i} enil\n"
  end
  break if IO.select([$stdin], nil, nil, 0)
end
ones.each_with_index do |one, i|
  data = pattern(1_000_000, i)
  one.puts("BULK #{data.size}")
  writer = Thread.new { one.write(data) }
  puts "bulk #{i} #{Digest::SHA256.hexdigest(one.read(data.size))[0, 16]}"
  writer.join
end
# All at once, without blocking.
ones.each { |one| one.write("all at once\n" * 200) }
lines = Hash.new(0)
parts = Hash.new { |hash, one| hash[one] = +'' }
until lines.values.sum == 800
  ready, = IO.select(ones)
  ready.each do |one|
    parts[one] << one.read_nonblock(500, exception: false).then { |got| got.is_a?(String) ? got : '' }
    lines[one] = parts[one].count("\n")
  end
end
puts parts.values.map { |text| Digest::SHA256.hexdigest(text)[0, 16] }.join(' ')
ones.each do |one|
  one.close_write
  puts "end #{one.read.inspect}"
  one.close
end
