%% Erlang's ways to use sockets: escript talk.erl serve|talk PORT. A process per connection, active once here, passive
%% there; lines and lengths are told apart by the runtime itself.
-mode(compile).

main(["serve", Port]) ->
    {ok, Listener} = gen_tcp:listen(list_to_integer(Port),
        [binary, {ip, {127, 0, 0, 1}}, {packet, 4}, {active, false}, {nodelay, true}]),
    accept(Listener);
main(["talk", Port]) ->
    Ones = [connect(list_to_integer(Port)) || _ <- lists:seq(1, 4)],
    Self = self(),
    spawn(fun() -> io:get_line(""), Self ! ending end),
    warm(Ones),
    [bulk(One, Size) || One <- Ones, Size <- [0, 1, 1000, 65536, 3000000]],
    %% All at once, each by a process of its own.
    Workers = [spawn_monitor(fun() -> many(One) end) || One <- Ones],
    [receive {'DOWN', Ref, process, _, Why} -> io:format("worker ~p~n", [Why]) end || {_, Ref} <- Workers],
    [finish(One) || One <- Ones].

accept(Listener) ->
    {ok, One} = gen_tcp:accept(Listener),
    Server = spawn(fun() -> receive go -> echo(One) end end),
    ok = gen_tcp:controlling_process(One, Server),
    Server ! go,
    accept(Listener).

echo(One) ->
    inet:setopts(One, [{active, once}]),
    receive
        {tcp, One, Data} -> ok = gen_tcp:send(One, Data), echo(One);
        {tcp_closed, One} -> ok
    end.

connect(Port) ->
    {ok, One} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {packet, 4}, {active, false}, {nodelay, true}]),
    One.

ask(One, Data) ->
    ok = gen_tcp:send(One, Data),
    {ok, Data} = gen_tcp:recv(One, 0, 60000).

warm(Ones) ->
    [ask(One, <<"how are you">>) || One <- Ones],
    receive ending -> ok after 0 -> warm(Ones) end.

pattern(Size) -> binary:copy(<<"0123456789abcdef">>, Size div 16 + 1).

bulk(One, Size) ->
    {ok, Back} = ask(One, pattern(Size)),
    io:format("~p back ~p~n", [byte_size(Back), erlang:crc32(Back)]).

many(One) ->
    [ok = gen_tcp:send(One, pattern(I)) || I <- lists:seq(1, 500)],
    [{ok, _} = gen_tcp:recv(One, 0, 60000) || _ <- lists:seq(1, 500)].

finish(One) ->
    ok = gen_tcp:shutdown(One, write),
    io:format("end ~p~n", [gen_tcp:recv(One, 0, 60000)]),
    gen_tcp:close(One).
