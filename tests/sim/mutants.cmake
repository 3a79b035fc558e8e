# One executable per mutants/*.mut: the simulator with one source file changed on purpose. The changed copy is compiled
# in place of the original: its object comes before the library that holds the original, which the linker then leaves
# alone. A changed header is put in front on the include path, and the sources that the mutant names are compiled anew.
# Included once, after the target sim. The executables lie in sim_mutants/ beside `sim`, which runs them (mutants_test.cc); building sim_mutants builds them.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
file(GLOB sim_mutants CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/mutants/*.mut")
set(sim_mutant_names "")
set(sim_mutant_apply "${CMAKE_CURRENT_LIST_DIR}/mutants/apply.py")
set(sim_mutant_out "${CMAKE_BINARY_DIR}/tests/sim_mutants")

function(sim_mutant mutant)
  get_filename_component(name "${mutant}" NAME_WE)
  execute_process(COMMAND "${Python3_EXECUTABLE}" "${sim_mutant_apply}" --list "${mutant}"
    OUTPUT_VARIABLE rebuild COMMAND_ERROR_IS_FATAL ANY)
  list(POP_FRONT rebuild file)
  set(out "${sim_mutant_out}/${name}.d")
  add_custom_command(OUTPUT "${out}/${file}"
    COMMAND "${Python3_EXECUTABLE}" "${sim_mutant_apply}" "${CMAKE_SOURCE_DIR}" "${mutant}" "${out}"
    DEPENDS "${mutant}" "${sim_mutant_apply}" "${CMAKE_SOURCE_DIR}/${file}"
    COMMENT "Mutant ${name}" VERBATIM)
  set(objects "$<TARGET_OBJECTS:sim>")
  foreach(source IN LISTS rebuild)
    get_filename_component(stem "${source}" NAME)
    if(source MATCHES "^tests/sim/")
      string(REPLACE "." "\\." pattern "/${stem}.o")
      set(objects "$<FILTER:${objects},EXCLUDE,${pattern}>")
    endif()
  endforeach()
  list(TRANSFORM rebuild PREPEND "${CMAKE_SOURCE_DIR}/")
  add_executable(sim_mutant_${name} "${out}/${file}" ${rebuild} ${objects})
  target_include_directories(sim_mutant_${name} BEFORE PRIVATE "${out}")
  target_link_libraries(sim_mutant_${name} PRIVATE house gossip store agent_primary GTest::gmock GTest::gtest)
  set_target_properties(sim_mutant_${name} PROPERTIES OUTPUT_NAME "${name}"
    RUNTIME_OUTPUT_DIRECTORY "${sim_mutant_out}")
  add_dependencies(sim_mutants sim_mutant_${name})
endfunction()

if(TARGET sim)
  add_custom_target(sim_mutants)
  foreach(mutant IN LISTS sim_mutants)
    sim_mutant("${mutant}")
    get_filename_component(name "${mutant}" NAME_WE)
    list(APPEND sim_mutant_names "${name}")
  endforeach()
  list(JOIN sim_mutant_names "," sim_mutant_joined)
  set_source_files_properties("${CMAKE_CURRENT_LIST_DIR}/mutants_test.cc" TARGET_DIRECTORY sim PROPERTIES
    COMPILE_DEFINITIONS "OUTRIGGER_SIM_MUTANTS=\"${sim_mutant_joined}\"")
endif()
