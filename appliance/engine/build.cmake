# How the engine is compiled on the customer's machine: the same sources and the same speed in about half the CPU time.
# Passed to CMake as -DCMAKE_PROJECT_INCLUDE=<this file>; llama.cpp itself is not patched. Leaving the file out gives
# upstream's own build, which is the way out should a new llama.cpp not compile with it.

# The variable is read at every project() call (ggml has its own); only the outer one has all the targets.
if(NOT PROJECT_NAME STREQUAL "llama.cpp")
  return()
endif()

# Most of the time goes into reading the same C++ headers and instantiating the same templates once a file, so
# several files are compiled as one. `apart` names the files that cannot share.
function(engine_merge target batch)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "APART")
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${batch})
  get_target_property(folder ${target} SOURCE_DIR)
  foreach(file IN LISTS arg_APART)
    set_source_files_properties(${folder}/${file} TARGET_DIRECTORY ${target}
                                PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endforeach()
endfunction()

# Upstream merges only libllama's models/*.cpp. Its other files merge as well.
function(engine_merge_llama batch)
  get_target_property(files llama SOURCES)
  list(FILTER files INCLUDE REGEX "^[^/]+\\.cpp$")
  get_target_property(folder llama SOURCE_DIR)
  list(TRANSFORM files PREPEND ${folder}/)
  set_source_files_properties(${files} TARGET_DIRECTORY llama PROPERTIES SKIP_UNITY_BUILD_INCLUSION OFF)
  engine_merge(llama ${batch})
endfunction()

# Batch sizes keep every piece under a minute and under about 1 GiB of compiler memory, so that two cores stay busy.
function(engine_build)
  engine_merge_llama(16)
  engine_merge(llama-common 17 APART json.cpp)  # specializes templates that other files have used by then
  engine_merge(mtmd 20 APART mtmd-helper.cpp mtmd-helper-gen.cpp)  # refuse to see mtmd's inner headers
  engine_merge(server-context 5)
  engine_merge(llama-server-impl 5)
  # Every file of common/jinja names itself in this macro.
  set_target_properties(llama-common PROPERTIES UNITY_BUILD_CODE_BEFORE_INCLUDE "#undef FILENAME")

  # A model's arithmetic is all in ggml and libllama, which keep -O3. What is around them waits for it.
  foreach(target llama-common cpp-httplib server-context llama-server-impl llama-bench-impl
          llama-batched-bench-impl llama-fit-params-impl llama-quantize-impl)
    target_compile_options(${target} PRIVATE -O1)
  endforeach()
  target_compile_options(mtmd PRIVATE -O2)  # scales pictures and transforms sound on its own
endfunction()

cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL engine_build)
